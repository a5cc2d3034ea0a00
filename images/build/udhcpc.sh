#!/bin/sh
# udhcpc(8) calls this with what the DHCP server said. The link may be a /31 or a /32, so every gateway is on it.
case $1 in
bound | renew)
    case $(ip -4 addr show dev "$interface") in
    *" $ip/"*) ;;
    *) ip -4 addr flush dev "$interface" ;; # another address than before: the old one is somebody else's now
    esac
    ip addr replace "$ip/$mask" dev "$interface"
    if [ -n "$staticroutes" ]; then # option 121 replaces option 3 (RFC 3442)
        set -- $staticroutes
    else
        set -- ${router:+0.0.0.0/0 ${router%% *}}
    fi
    while [ $# -ge 2 ]; do
        if [ "$2" = 0.0.0.0 ]; then
            ip route replace "$1" dev "$interface"
        else
            ip route replace "$1" via "$2" dev "$interface" onlink
        fi
        shift 2
    done
    [ -z "$dns" ] || for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
    ;;
esac
