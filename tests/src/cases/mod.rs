//! Every case: what it needs, and how it runs. One file for each kind of behaviour.

mod addresses;
mod agent;
mod attribution;
mod bystanders;
mod calls;
mod contents;
mod crowds;
mod doctor;
mod errors;
mod fates;
mod hotplug;
mod life;
mod places;
mod races;
mod selection;
mod sockets;
mod waiting;

use std::path::Path;

use anyhow::Result;

use crate::{
    need::{Home, Need},
    plan::Plan,
    stage::Stage,
    tracer::Agents,
    truth::Truth,
    verify::{Pair, Problems},
};

/// What a process of a case does.
pub type Act = fn(&mut Stage) -> Result<()>;
/// Looks at what only this case promises, beyond what holds for all.
pub type Check = fn(&Truth, &[Pair<'_>], Plan, &mut Problems);

/// A case.
pub struct Case {
    /// A sentence.
    pub name: &'static str,
    /// What it needs of the kernel.
    pub needs: &'static [Need],
    /// How it runs.
    pub play: Play,
}

/// How a case runs.
#[derive(Clone, Copy)]
pub enum Play {
    /// As a process, while one agent serves all such cases.
    Together(Act, Check),
    /// In the driver, with agents of its own.
    Alone(fn(&Alone<'_>) -> Result<()>, Scope),
}

/// In which plans a case with agents of its own runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In each: the kernel side differs.
    EachPlan,
    /// In one: it is about what all plans share.
    Once,
    /// In one, and only when asked for: it takes long.
    Flood,
}

/// What a case with agents of its own works with.
pub struct Alone<'a> {
    /// How to start agents.
    pub agents: &'a Agents,
    /// The plan that they turn out to have.
    pub plan: Plan,
    /// For folders of other cases' processes.
    pub root: &'a Path,
    /// Where this is.
    pub home: Home,
}

fn nothing_more(_: &Truth, _: &[Pair<'_>], _: Plan, _: &mut Problems) {}

macro_rules! together {
    ($module:ident :: $name:ident $(, needs [$($need:ident),*])? $(, check $check:ident)?) => {
        Case {
            name: stringify!($name),
            needs: &[$($(Need::$need),*)?],
            play: Play::Together($module::$name, together!(@check $module $($check)?)),
        }
    };
    (@check $module:ident) => { nothing_more };
    (@check $module:ident $check:ident) => { $module::$check };
}

macro_rules! alone {
    ($module:ident :: $name:ident, $scope:ident $(, needs [$($need:ident),*])?) => {
        Case {
            name: stringify!($name),
            needs: &[$($(Need::$need),*)?],
            play: Play::Alone($module::$name, Scope::$scope),
        }
    };
}

static CASES: &[Case] = &[
    together!(calls::sendto_is_shown_as_it_was_received),
    together!(calls::write_on_a_connected_socket_is_shown),
    together!(calls::sendmsg_of_many_parts_across_pages_is_shown_in_one_piece),
    together!(calls::each_message_of_sendmmsg_is_shown),
    together!(calls::splice_from_a_pipe_is_shown),
    together!(calls::sendfile_is_shown),
    together!(calls::memory_that_was_never_touched_is_shown),
    together!(calls::io_uring_by_its_caller_is_shown, needs[IoUring]),
    together!(
        calls::io_uring_by_a_worker_is_shown_with_the_name_of_the_process,
        needs[IoUring]
    ),
    together!(calls::a_32_bit_sendto_is_shown, needs[Compat]),
    together!(calls::a_32_bit_sendmsg_is_shown, needs[Compat]),
    together!(calls::a_thread_is_shown_with_its_own_name),
    together!(calls::senders_that_take_turns_on_one_cpu_are_told_apart),
    together!(addresses::an_abstract_name_with_nuls_is_shown_whole),
    together!(addresses::a_sender_with_a_name_of_its_own_changes_nothing),
    together!(addresses::a_relative_path_finds_the_receiver),
    together!(addresses::a_path_through_proc_self_fd_finds_the_receiver),
    together!(addresses::an_alias_by_bind_mount_finds_the_receiver),
    together!(addresses::a_receiver_that_was_renamed_is_known_by_the_name_it_was_bound_to),
    together!(addresses::a_name_that_only_the_sender_uses_selects_too),
    together!(addresses::a_padded_address_is_cut_at_its_end),
    together!(contents::payloads_of_all_sizes_are_shown),
    together!(contents::passed_descriptors_are_counted),
    together!(contents::credentials_that_root_forges_are_shown_as_claimed),
    together!(contents::a_refused_claim_is_joined_with_its_repetition),
    together!(errors::a_full_queue_is_eagain, check queue_lengths),
    together!(errors::nobody_there_is_enoent_or_econnrefused),
    together!(errors::a_forbidden_socket_is_eacces),
    together!(errors::a_socket_of_another_type_is_eprototype),
    together!(errors::failed_connects_are_shown),
    together!(errors::memory_that_cannot_be_read_is_efault_and_nothing_was_sent),
    together!(errors::a_datagram_that_never_fits_is_emsgsize),
    together!(waiting::a_blocked_sender_is_shown_with_the_time_it_waited, check waited_long),
    together!(waiting::twenty_blocked_senders_hide_nobody),
    together!(fates::a_filter_that_drops_all_is_told_from_a_delivery),
    together!(fates::a_filter_that_trims_is_shown),
    together!(fates::what_nobody_reads_is_destroyed_with_its_receiver),
    together!(fates::receivers_that_come_and_go_leave_nothing_to_each_other),
    together!(fates::to_peek_is_not_to_read),
    together!(fates::a_receiver_that_does_not_ask_is_told_nothing),
    together!(fates::a_sender_reaped_before_the_dequeue_is_not_present),
    together!(fates::a_zombie_is_still_present),
    together!(bystanders::a_socket_that_also_talks_to_syslog_is_shown_only_where_it_notifies),
    together!(bystanders::a_reused_buffer_is_no_delivery),
    together!(bystanders::other_kinds_of_sockets_with_that_name_are_not_shown),
    together!(bystanders::journald_and_helpers_of_systemd_are_not_shown),
    together!(races::bytes_that_change_during_the_call_are_shown_as_received),
    together!(
        races::sixty_four_writers_stuck_in_a_page_fault_hide_nobody,
        needs[Userfaultfd]
    ),
    together!(places::a_sender_in_a_pid_namespace_has_both_its_numbers),
    together!(
        places::a_sender_deep_in_the_cgroup_tree_is_shown_with_its_path,
        needs[Cgroups]
    ),
    together!(
        places::a_path_that_is_too_long_is_shown_without_its_upper_end,
        needs[Cgroups]
    ),
    together!(
        places::cgroups_of_every_kind_say_who_lives_there,
        needs[Cgroups]
    ),
    together!(
        places::a_sender_that_is_moved_is_shown_where_it_was_at_each_send,
        needs[Cgroups]
    ),
    together!(crowds::a_thousand_in_bursts_by_four_are_all_shown),
    alone!(selection::two_agents_show_the_same, EachPlan),
    alone!(selection::pid_selects_a_process, EachPlan),
    alone!(
        selection::cgroup_selects_a_subtree,
        EachPlan,
        needs[Cgroups]
    ),
    alone!(selection::socket_adds_to_what_is_selected, EachPlan),
    alone!(selection::only_socket_replaces_what_is_selected, EachPlan),
    alone!(selection::internal_adds_sockets_of_helpers, EachPlan),
    alone!(
        selection::a_receiver_without_a_chosen_name_can_be_selected,
        EachPlan
    ),
    alone!(
        selection::a_socket_in_the_environment_of_a_process_is_selected,
        EachPlan
    ),
    alone!(
        life::a_command_is_traced_from_its_start_and_its_exit_code_passed_on,
        EachPlan
    ),
    alone!(
        attribution::what_is_gone_before_anybody_looks_is_shown_as_it_was,
        EachPlan,
        needs[Cgroups]
    ),
    alone!(
        attribution::a_container_in_a_v1_hierarchy_is_known_later_and_by_its_name,
        Once,
        needs[Cgroups, Guest]
    ),
    alone!(
        attribution::options_select_senders_by_where_they_belong,
        Once,
        needs[Cgroups]
    ),
    alone!(
        attribution::what_is_withheld_is_nowhere_and_files_are_their_owners,
        Once
    ),
    alone!(life::count_ends_the_trace, Once),
    alone!(life::for_ends_the_trace, Once),
    alone!(life::an_interrupt_ends_the_trace_with_a_summary, Once),
    alone!(life::a_reader_that_goes_away_is_a_success, Once),
    alone!(life::a_killed_agent_leaves_nothing_behind, EachPlan),
    alone!(
        life::without_privileges_the_missing_capability_is_named,
        Once
    ),
    alone!(agent::the_agent_is_a_service_by_its_own_protocol, EachPlan),
    alone!(doctor::doctor_agrees_with_the_kernel_and_with_trace, Once),
    alone!(doctor::doctor_as_nobody_says_all_and_ends_with_3, Once),
    alone!(doctor::doctor_finds_what_a_filter_refuses, Once),
    alone!(
        sockets::the_verb_sockets_shows_each_with_its_owner_and_its_processes,
        Once
    ),
    alone!(
        sockets::the_verb_sockets_without_privileges_says_what_it_could_not_see,
        Once
    ),
    alone!(
        hotplug::a_cpu_that_goes_and_comes_back_loses_nothing,
        EachPlan,
        needs[SecondCpu]
    ),
    alone!(crowds::two_thousand_a_second_are_all_shown, EachPlan),
    alone!(crowds::a_flood_is_shown_or_counted_as_lost, Flood),
];

/// What processes do for the cases with agents of their own.
static SCENES: &[(&str, Act)] = &[
    ("two_senders", selection::two_senders),
    ("senders_of_every_kind", places::senders_of_every_kind),
    ("gone_and_come_back", attribution::gone_and_come_back),
    ("in_a_v1_hierarchy", attribution::in_a_v1_hierarchy),
    ("several_receivers", selection::several_receivers),
    ("one_odd_receiver", selection::one_odd_receiver),
    ("services_of_all_kinds", sockets::services_of_all_kinds),
    ("one_listener", life::one_listener),
    ("five_datagrams", life::five_datagrams),
    ("on_every_cpu", hotplug::on_every_cpu),
    ("six_thousand_paced", crowds::six_thousand_paced),
    ("flood", crowds::flood),
];

/// All cases, in the order in which they run.
pub fn all() -> &'static [Case] {
    CASES
}

/// What the process of a case, or of a scene, does.
pub fn act(name: &str) -> Option<Act> {
    let of_case = CASES.iter().find_map(|case| match case.play {
        Play::Together(act, _) => (case.name == name).then_some(act),
        Play::Alone(..) => None,
    });
    of_case.or_else(|| {
        SCENES
            .iter()
            .find(|scene| scene.0 == name)
            .map(|scene| scene.1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_used_once() {
        let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        names.extend(SCENES.iter().map(|scene| scene.0));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
