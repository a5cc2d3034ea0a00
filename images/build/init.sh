#!/bin/sh
# Process 1 of the in-RAM installer: devices, drivers, an address, then the agent until it says how to go on.
export PATH=/bin
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
while :; do
    found=$(find /sys/devices -name modalias -exec cat {} + | sort -u)
    [ "$found" = "$known" ] && break
    known=$found
    modprobe -a -b -q $found 2>/dev/null
done
modprobe -a -q ext4 crc32c_generic 2>/dev/null

bootif=
for word in $(cat /proc/cmdline); do
    case $word in
    BOOTIF=??-??-??-??-??-??-??) bootif=${word#BOOTIF=??-} ;;
    BOOTIF=*) bootif=${word#BOOTIF=} ;;
    esac
done
bootif=$(echo "$bootif" | tr 'A-F-' 'a-f:')

nic=
for folder in /sys/class/net/*; do
    [ -e "$folder/device" ] || continue
    [ -z "$nic" ] || [ "$(cat "$folder/address")" = "$bootif" ] && nic=${folder##*/}
done
say "network card ${nic:-none}"
ip link set lo up
if [ -n "$nic" ]; then
    ip link set "$nic" up
    # In the background: the agent starts meanwhile, and keeps trying until there is an address. It stays to renew.
    udhcpc -i "$nic" -f -t 20 -T 1 -A 1 -O staticroutes -s /bin/udhcpc.sh >/dev/null 2>&1 &
    dhcp=$!
fi

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
# The installed system configures the card from scratch; udev renames only a card that is down.
[ -n "$nic" ] && ip addr flush dev "$nic" && ip link set "$nic" down
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
