//! The kernel structure offsets that the kernel side needs.
//!
//! Rust has no CO-RE relocations, so userspace looks each offset up in the running kernel's BTF and
//! sets it as a read-only global before it loads the programs. The list stands here once: the
//! kernel side makes its globals of it, userspace its look-ups. A candidate is `struct.member[.member…]`,
//! tried in order, because names changed between kernels; `sizeof(struct)` is a size.

/// The value of an offset that this kernel doesn't have: what needs it is left out.
pub const ABSENT: u32 = u32::MAX;

/// What can't be told without a field. [`Feature::Capture`] is what nothing works without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Selecting sockets and reading payloads.
    Capture,
    /// The sender's own spelling of the address (full plans only).
    SenderAddress,
    /// Inode numbers of sockets.
    SocketInode,
    /// Queue lengths.
    QueueLength,
    /// Claimed and told credentials, and whether the sender is still there at the dequeue.
    Credentials,
    /// The number of file descriptors passed.
    FileDescriptors,
    /// The pid in the process's own namespace.
    PidNamespace,
    /// Parent, start time, and comm of the process behind an `io_uring` worker.
    Process,
    /// Cgroup paths, and selection by cgroup.
    CgroupPath,
    /// Exits of processes that sent.
    Exit,
}

/// Calls `$callback!` with the whole list: `(GLOBAL, [candidates], Feature),…`.
#[macro_export]
macro_rules! kernel_fields {
    ($callback:path) => {
        $callback! {
            (SOCKET_SK, ["socket.sk"], Capture),
            (SOCKET_INODE, ["socket_alloc.vfs_inode.i_ino"], SocketInode),
            (SOCK_FAMILY, ["sock.__sk_common.skc_family"], Capture),
            (SOCK_TYPE, ["sock.sk_type"], Capture),
            (SOCK_SOCKET, ["sock.sk_socket"], SocketInode),
            (SOCK_QUEUE_LEN, ["sock.sk_receive_queue.qlen"], QueueLength),
            (UNIX_SOCK_ADDR, ["unix_sock.addr"], Capture),
            (UNIX_SOCK_PEER, ["unix_sock.peer"], Capture),
            (UNIX_ADDRESS_LEN, ["unix_address.len"], Capture),
            (UNIX_ADDRESS_NAME, ["unix_address.name"], Capture),
            (MSG_NAME, ["msghdr.msg_name"], SenderAddress),
            (MSG_NAMELEN, ["msghdr.msg_namelen"], SenderAddress),
            (SKB_SK, ["sk_buff.sk"], Capture),
            (SKB_CB, ["sk_buff.cb"], Credentials),
            (SKB_LEN, ["sk_buff.len"], Capture),
            (SKB_DATA_LEN, ["sk_buff.data_len"], Capture),
            (SKB_DATA, ["sk_buff.data"], Capture),
            (UNIXCB_PID, ["unix_skb_parms.pid"], Credentials),
            (UNIXCB_UID, ["unix_skb_parms.uid"], Credentials),
            (UNIXCB_GID, ["unix_skb_parms.gid"], Credentials),
            (UNIXCB_FP, ["unix_skb_parms.fp"], FileDescriptors),
            (SCM_FP_COUNT, ["scm_fp_list.count"], FileDescriptors),
            (PID_LEVEL, ["pid.level"], PidNamespace),
            (PID_NUMBERS, ["pid.numbers"], Credentials),
            (PID_TASKS, ["pid.tasks"], Credentials),
            (UPID_NR, ["upid.nr"], Credentials),
            (UPID_NS, ["upid.ns"], PidNamespace),
            (UPID_SIZE, ["sizeof(upid)"], PidNamespace),
            (PID_NAMESPACE_INUM, ["pid_namespace.ns.inum"], PidNamespace),
            (TASK_FLAGS, ["task_struct.flags"], Process),
            (TASK_TGID, ["task_struct.tgid"], Process),
            (TASK_GROUP_LEADER, ["task_struct.group_leader"], Process),
            (TASK_REAL_PARENT, ["task_struct.real_parent"], Process),
            (TASK_THREAD_PID, ["task_struct.thread_pid"], PidNamespace),
            (TASK_START_BOOTTIME, ["task_struct.start_boottime", "task_struct.real_start_time"], Process),
            (TASK_COMM, ["task_struct.comm"], Process),
            (TASK_CGROUPS, ["task_struct.cgroups"], CgroupPath),
            (TASK_SIGNAL, ["task_struct.signal"], Exit),
            (SIGNAL_LIVE, ["signal_struct.live"], Exit),
            (CSS_SET_DFL_CGRP, ["css_set.dfl_cgrp"], CgroupPath),
            (CGROUP_KN, ["cgroup.kn"], CgroupPath),
            (KERNFS_PARENT, ["kernfs_node.__parent", "kernfs_node.parent"], CgroupPath),
            (KERNFS_NAME, ["kernfs_node.name"], CgroupPath),
            (KERNFS_ID, ["kernfs_node.id"], CgroupPath),
        }
    };
}

/// A field of a kernel structure, as the list has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name of the read-only global that holds its offset in bytes.
    pub global: &'static str,
    /// Names to look up, the newest first.
    pub candidates: &'static [&'static str],
    /// What can't be told without it.
    pub feature: Feature,
}

macro_rules! field_table {
    ($(($global:ident, [$($candidate:literal),+], $feature:ident),)+) => {
        /// All fields.
        pub const FIELDS: &[Field] = &[$(Field {
            global: stringify!($global),
            candidates: &[$($candidate),+],
            feature: Feature::$feature,
        }),+];
    };
}
kernel_fields!(field_table);
