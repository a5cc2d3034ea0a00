# Finds the disks of an order by what the kernel says of them, under every installer's shell: busybox, dash, bash.
sys=${ROUNDHOUSE_SYS:-/sys} dev=${ROUNDHOUSE_DEV:-/dev}
taken=

read_first() {
    for file in "$@"; do
        if [ -r "$file" ]; then
            sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' -e 1q "$file"
            return
        fi
    done
}

# All the serial numbers that a disk of that name goes by, one a line.
serials_of() {
    read_first "$sys/block/$1/device/serial"
    echo
    read_first "$sys/block/$1/serial"
    echo
    if [ -r "$sys/block/$1/device/vpd_pg80" ]; then
        # SPC-4 §7.8.13: four bytes, then the number.
        dd bs=1 skip=4 if="$sys/block/$1/device/vpd_pg80" 2>/dev/null | tr -d '\000' | sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//'
        echo
    fi
    udevadm info --query=property --name="$dev/$1" 2>/dev/null | sed -n -e 's/^ID_SERIAL_SHORT=//p' -e 's/^ID_SCSI_SERIAL=//p' || :
}

type_of() {
    case $1 in
        nvme*) echo nvme ;;
        *) if [ "$(read_first "$sys/block/$1/queue/rotational")" = 1 ]; then echo hdd; else echo ssd; fi ;;
    esac
}

# "ROTATIONAL BYTES NAME" of each disk that a system may lie on: solid state first, then the smallest.
usable() {
    for folder in "$sys"/block/*; do
        name=${folder##*/}
        case $name in
            nvme*c*n*) continue ;;
            sd* | vd* | xvd* | nvme*) ;;
            *) continue ;;
        esac
        [ "$(read_first "$folder/removable")" != 1 ] && [ "$(read_first "$folder/ro")" != 1 ] || continue
        bytes=$(($(read_first "$folder/size") * 512))
        [ "$bytes" -gt 0 ] || continue
        rotational=1
        [ "$(read_first "$folder/queue/rotational")" = 1 ] || rotational=0
        echo "$rotational $bytes $name"
    done | sort -n -k 1,1 -k 2,2
}

# The disks that are there, as told when the wanted one is not.
told() {
    echo "$disks" | while read -r _ bytes name; do printf ' %s (%s bytes)' "$dev/$name" "$bytes"; done
}

# find_disk PATH SERIAL TYPE MIN_BYTES MAX_BYTES: the first disk that is all that, and was not found before, goes to
# $found. What is empty may be anything.
find_disk() {
    rest=$disks
    while [ -n "$rest" ]; do
        line=${rest%%"$newline"*}
        rest=${rest#"$line"}
        rest=${rest#"$newline"}
        name=${line##* } bytes=${line#* }
        bytes=${bytes% *}
        case " $taken " in *" $dev/$name "*) continue ;; esac
        [ -z "$1" ] || [ "$(readlink -f "$dev${1#/dev}")" = "$(readlink -f "$dev/$name")" ] || continue
        [ -z "$2" ] || serials_of "$name" | grep -F -x -q -e "$2" || continue
        [ -z "$3" ] || [ "$(type_of "$name")" = "$3" ] || continue
        [ -z "$4" ] || [ "$bytes" -ge "$4" ] || continue
        [ -z "$5" ] || [ "$bytes" -le "$5" ] || continue
        found=$dev/$name
        taken="$taken $found"
        return 0
    done
    echo "no disk with path '$1', serial '$2', type '$3', bytes $4 to $5 is left; found:$(told)" >&2
    return 1
}

# alike COUNT MIN_BYTES: the first size of which there are so many disks goes to $size; empty where there is none.
alike() {
    size=$(echo "$disks" | while read -r kind bytes _; do
        [ "$bytes" -ge "$2" ] || continue
        [ "$(echo "$disks" | grep -c "^$kind $bytes ")" -lt "$1" ] || { echo "$bytes"; break; }
    done)
}

newline='
'
disks=$(usable)

