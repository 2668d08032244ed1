//! Names that look like those of a host.

const COMMON: [&str; 40] = [
    "systemd-journald",
    "systemd-udevd",
    "systemd-networkd",
    "systemd-resolved",
    "systemd-timesyncd",
    "systemd-logind",
    "dbus-broker",
    "NetworkManager",
    "sshd",
    "chrony",
    "rsyslog",
    "auditd",
    "firewalld",
    "nftables-exporter",
    "containerd",
    "docker",
    "libvirtd",
    "postgresql@16-main",
    "redis-server",
    "mariadb",
    "rabbitmq-server",
    "elasticsearch",
    "nginx",
    "haproxy",
    "varnish",
    "php8.3-fpm",
    "uwsgi@shop",
    "gunicorn@api",
    "grafana-server",
    "prometheus",
    "loki",
    "vector",
    "telegraf",
    "dovecot",
    "postfix@-",
    "rspamd",
    "bird",
    "frr",
    "keepalived",
    "slapd",
];

const ROLES: [&str; 8] = [
    "worker", "ingest", "render", "billing", "search", "cache", "mail", "sync",
];

/// The name of the unit of a number, without its suffix.
pub fn name(number: u32) -> String {
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    if let Some(name) = COMMON.get(index) {
        return (*name).to_owned();
    }
    let role = ROLES[index % ROLES.len()];
    format!("{role}@{}", 1 + index / ROLES.len())
}

/// What such a service says of itself while it starts.
pub fn statuses(number: u32) -> [&'static str; 3] {
    match number % 4 {
        0 => [
            "Reading configuration",
            "Opening sockets",
            "Ready to handle connections",
        ],
        1 => [
            "Recovering journal",
            "Replaying 1,204 segments",
            "Accepting connections",
        ],
        2 => [
            "Waiting for the network",
            "Joining the cluster",
            "Member of 3 nodes",
        ],
        _ => [
            "Loading modules",
            "Warming the cache",
            "Processing requests…",
        ],
    }
}
