#!/bin/sh
# Process 1 of the in-RAM installer: devices, drivers, an address, then the agent until it says how to go on.
export PATH=/bin HOME=/root TERM=linux
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run

say() {
    read -r up _ </proc/uptime
    echo "roundhouse: $1 ($up s after the kernel's start)"
}
say "init"

# Loading a bus driver brings up new devices, so until nothing new appears.
known=
drivers() {
    while :; do
        found=$(find /sys/devices -name modalias -exec cat {} + | sort -u)
        [ "$found" = "$known" ] && break
        known=$found
        modprobe -a -b -q $found 2>/dev/null
    done
}
drivers
modprobe -a -q ext4 crc32c_generic 2>/dev/null
# A BMC's driver is found like any other; the one that programs speak to it by is not.
[ -d /sys/module/ipmi_msghandler ] && modprobe -q ipmi_devintf 2>/dev/null

bootif= static=
for word in $(cat /proc/cmdline); do
    case $word in
    BOOTIF=??-??-??-??-??-??-??) bootif=${word#BOOTIF=??-} ;;
    BOOTIF=*) bootif=${word#BOOTIF=} ;;
    ip=*:*:*:*) static=${word#ip=} ;;
    esac
done
bootif=$(echo "$bootif" | tr 'A-F-' 'a-f:')

# The card that booted, or without its word the first one. Some drivers take seconds to bring theirs up.
tries=0
while :; do
    nic=
    for folder in /sys/class/net/*; do
        [ -e "$folder/device" ] || continue
        read -r address <"$folder/address"
        [ "$address" = "$bootif" ] && nic=${folder##*/} && break 2
        [ -z "$nic" ] && nic=${folder##*/}
    done
    [ -n "$nic" ] && [ -z "$bootif" ] && break
    [ $tries -ge 100 ] && [ -n "$nic" ] && break
    tries=$((tries + 1))
    sleep 0.1
    drivers
done
say "network card $nic"
ip link set lo up
ip link set "$nic" up
dhcp=
if [ -n "$static" ]; then
    # The kernel's own form: client:server:gateway:netmask:hostname:device:autoconf:nameserver
    IFS=:
    set -- $static
    unset IFS
    interface=$nic ip=$1 mask=${4:-255.255.255.255} router=$3 staticroutes= dns=$8 sh /bin/udhcpc.sh bound
else
    # In the background: the agent starts meanwhile, and keeps trying until there is an address. It stays to renew.
    udhcpc -i "$nic" -f -t 20 -T 1 -A 1 -O staticroutes -s /bin/udhcpc.sh >/dev/null 2>&1 &
    dhcp=$!
fi

# A disk that comes up late would be missed by whatever looks for disks.
for controller in /sys/class/nvme/nvme*; do
    tries=0
    while [ -e "$controller/state" ] && [ $tries -lt 100 ]; do
        read -r state <"$controller/state"
        [ "$state" = live ] || [ "$state" = dead ] && break
        tries=$((tries + 1))
        sleep 0.1
    done
done

while :; do
    python3 -I -S -E /usr/lib/python3.11/images/agent/__main__.pyc
    way=$?
    case $way in
    10 | 11 | 12) break ;;
    esac
    say "the agent ended with $way; again in 5 s"
    sleep 5
done

[ -n "$dhcp" ] && kill "$dhcp"
# The installed system configures the cards from scratch; udev renames only a card that is down.
for folder in /sys/class/net/*; do
    [ -e "$folder/device" ] || continue
    ip addr flush dev "${folder##*/}" && ip link set "${folder##*/}" down
done
sync
case $way in
10)
    say "switch_root"
    for folder in dev proc sys; do mount --move "/$folder" "/mnt/$folder"; done
    exec env -i PATH=/bin TERM=linux switch_root -c /dev/console /mnt /sbin/init
    ;;
11)
    say "kexec"
    kexec --exec
    ;;
esac
say "reboot"
reboot -f
