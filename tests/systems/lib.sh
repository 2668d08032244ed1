# What scenarios share. $NT is the tests' own program, $LIB this file.

# Writes a unit of the system's manager from the standard input.
unit() {
    cat >"/run/systemd/system/$1"
    systemctl daemon-reload
}

# Starts a unit; that it fails may be the point.
start() { systemctl start "$@" || true; }

# Stops units and forgets that they failed.
stop() {
    systemctl stop "$@" || true
    systemctl reset-failed "$@" 2>/dev/null || true
}

# Waits until a command succeeds, at most so many seconds.
await() {
    _left=$(($1 * 10)); shift
    until "$@"; do
        _left=$((_left - 1))
        [ "$_left" -gt 0 ] || { echo "not so in time: $*" >&2; return 1; }
        sleep 0.1
    done
}

# The manager of root, as a user. Its units are written from the standard input.
user_manager() {
    systemctl start user@0.service
    export XDG_RUNTIME_DIR=/run/user/0
}
user_unit() {
    mkdir -p /run/user/0/systemd/user
    cat >"/run/user/0/systemd/user/$1"
    systemctl --user daemon-reload
}
manager_pid() { systemctl show -P MainPID user@0.service; }

# A root file system of a container: busybox, and the tests' program as /bin/nt.
rootfs() {
    mkdir -p "$1/bin" "$1/proc" "$1/sys" "$1/dev" "$1/run" "$1/tmp" "$1/etc"
    cp /run/notify-trace/busybox "$1/bin/busybox"
    cp "$NT" "$1/bin/nt"
    for name in sh sleep cat ls true env; do ln -sf busybox "$1/bin/$name"; done
    chmod 755 "$1/bin/busybox" "$1/bin/nt"
}

# A bundle for runc and crun: bundle FOLDER RUNTIME SHELL-COMMAND.
bundle() {
    mkdir -p "$1"
    rootfs "$1/rootfs"
    (cd "$1" && "$2" spec)
    sed -i 's/"terminal": true/"terminal": false/' "$1/config.json"
    sed -i "s|\"args\": \\[|\"args\": [\"/bin/sh\", \"-c\", \"$3\", |; s|, *\$|,|" "$1/config.json"
}

# Makes podman usable without any module or network, with an image of its own.
podman_ready() {
    mkdir -p /etc/containers
    cat >/etc/containers/storage.conf <<CONF
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
CONF
    podman image exists nt:1 && return
    rootfs /run/nt-podman
    tar -C /run/nt-podman -c . | podman import -q - nt:1
}

# Writes a service of a shell script, which stands in the standard input after a line `--` behind the
# lines of the unit. `say` in it speaks to NOTIFY_SOCKET and is gone only when it has been heard.
shell_service() {
    _user=${2-}
    awk -v script="/run/notify-trace/$1.sh" -v unit="/run/notify-trace/$1.unit" '
        BEGIN { to = unit; printf "" > script; printf "" > unit }
        $0 == "--" && to == unit { to = script; next }
        { print > to }'
    {
        echo '[Service]'
        cat "/run/notify-trace/$1.unit"
        echo "ExecStart=/bin/sh /run/notify-trace/$1.sh"
    } >"/run/notify-trace/$1.service"
    {
        echo "NT=$NT"
        # An emulated process 1 that is busy may take more than 100 ms to read it, and then wants to know
        # whose process that was.
        echo 'say() { "$NT" speak --stay-ms 400 "$@"; }'
        cat "/run/notify-trace/$1.sh"
    } >"/run/notify-trace/$1.tmp"
    mv "/run/notify-trace/$1.tmp" "/run/notify-trace/$1.sh"
    if [ -n "$_user" ]; then
        user_unit "$1" <"/run/notify-trace/$1.service"
    else
        unit "$1" <"/run/notify-trace/$1.service"
    fi
}
