//! Loads the programs of a plan on all CPUs, for the verifier takes its time for each, and attaches them meanwhile.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{available_parallelism, scope};

use aya::programs::Program;
use aya::{Btf, Ebpf};
use notify_trace_common::limits::Emitter;

use crate::event::PlanName;
use crate::probe::attach::{attach_program, load_program};
use crate::probe::plan;

/// Loads and attaches what is not `attached` of a plan, and adds it there: in its order, but for what may be early.
/// Ends before the first that is refused: it is met again when it is tried by itself.
pub(super) fn try_all(
    ebpf: &mut Ebpf,
    functions: &Btf,
    name: PlanName,
    attached: &mut Vec<Emitter>,
) {
    let programs = plan::programs(name);
    let missing = ebpf.programs_mut().filter_map(|(name, program)| {
        let turn = programs.iter().position(|it| it.program() == name)?;
        (!attached.contains(&programs[turn])).then_some((turn, program))
    });
    let order = plan::programs_to_load(name);
    let place = |turn: usize| order.iter().position(|it| *it == programs[turn]);
    let queue = Queue::new(missing.collect(), place);
    let cpus = available_parallelism().map_or(1, NonZero::get);
    let load = |turn: usize, program: &mut &mut Program| {
        load_program(program, programs[turn].target(), functions).is_ok()
    };
    let attach = |turn: usize, program: &mut Program| {
        attach_program(program, programs[turn].target()).is_ok()
    };
    let can_be_early = |turn: usize, done: &[usize]| {
        plan::can_be_early(programs[turn], |other| {
            attached.contains(&other) || done.iter().any(|turn| programs[*turn] == other)
        })
    };
    let done = run(queue, cpus, load, attach, can_be_early);
    attached.extend(done.into_iter().map(|turn| programs[turn]));
}

/// Loads and attaches what is in a queue; the turns of what was attached, in that order. Whether it can be early may
/// depend on what was attached so far.
fn run<P: Send>(
    queue: Queue<P>,
    cpus: usize,
    load: impl Fn(usize, &mut P) -> bool + Sync,
    attach: impl Fn(usize, P) -> bool + Sync,
    can_be_early: impl Fn(usize, &[usize]) -> bool + Sync,
) -> Vec<usize> {
    let others = 1..cpus.min(queue.to_load.len());
    let queue = Mutex::new(queue);
    // Whoever has the list attaches. The kernel lets but one do so at a time; others load instead of waiting.
    let list = Mutex::new(Vec::new());
    let attach_all = |done: &mut Vec<usize>| {
        let next = |done: &[usize]| lock(&queue).next_to_attach(|turn| can_be_early(turn, done));
        while let Some((turn, program)) = next(done) {
            if !attach(turn, program) {
                lock(&queue).refuse(0);
                break;
            }
            done.push(turn);
        }
    };
    let work = || {
        let next = || lock(&queue).to_load.pop();
        while let Some((turn, mut program)) = next() {
            if load(turn, &mut program) {
                lock(&queue).loaded.insert(turn, program);
            } else {
                lock(&queue).refuse(turn);
            }
            if let Ok(mut done) = list.try_lock() {
                attach_all(&mut done);
            }
        }
    };
    scope(|threads| {
        for _ in others {
            threads.spawn(work);
        }
        work();
    });
    let mut done = list.into_inner().unwrap_or_else(PoisonError::into_inner);
    // What was loaded while another one was attached last.
    attach_all(&mut done);
    done
}

/// Programs, by their turns: their places in the order to attach them.
struct Queue<P> {
    /// The last one comes first.
    to_load: Vec<(usize, P)>,
    loaded: BTreeMap<usize, P>,
    /// What is still to be attached, in its order.
    turns: Vec<usize>,
}

impl<P> Queue<P> {
    /// Of these, to be loaded in the order of their `place`s.
    fn new<K: Ord>(mut to_load: Vec<(usize, P)>, place: impl Fn(usize) -> K) -> Self {
        to_load.sort_by_key(|(turn, _)| Reverse(place(*turn)));
        let mut turns: Vec<usize> = to_load.iter().map(|(turn, _)| *turn).collect();
        turns.sort_unstable();
        Self {
            to_load,
            loaded: BTreeMap::new(),
            turns,
        }
    }

    /// This one is not to be attached, and none behind it.
    fn refuse(&mut self, turn: usize) {
        self.turns.retain(|it| *it < turn);
        self.to_load.retain(|(it, _)| *it < turn);
    }

    /// What is attached next: the first one that is not, or, where that is not loaded yet, one that need not wait
    /// for it.
    fn next_to_attach(&mut self, can_be_early: impl Fn(usize) -> bool) -> Option<(usize, P)> {
        let is_loaded = |turn: &usize| self.loaded.contains_key(turn);
        let place = self
            .turns
            .iter()
            .enumerate()
            .position(|(place, turn)| is_loaded(turn) && (place == 0 || can_be_early(*turn)))?;
        let turn = self.turns.remove(place);
        Some((turn, self.loaded.remove(&turn)?))
    }
}

/// No thread leaves a list half changed.
fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(turns: &[usize]) -> Queue<&'static str> {
        let to_load = turns.iter().map(|turn| (*turn, "program")).collect();
        Queue::new(to_load, |turn| 10 - turn)
    }

    /// Of turns that are loaded in this order, those that are attached at once, by turn.
    fn attached(turns: &[usize], loaded: &[usize]) -> Vec<Vec<usize>> {
        let mut queue = queue(turns);
        let mut next = |turn: usize| {
            queue.loaded.insert(turn, "program");
            let next = || Some(queue.next_to_attach(|turn| turn % 2 == 1)?.0);
            std::iter::from_fn(next).collect()
        };
        loaded.iter().map(|turn| next(*turn)).collect()
    }

    #[test]
    fn what_need_not_wait_is_attached_when_it_is_loaded() {
        assert_eq!(attached(&[0, 1], &[0, 1]), [[0], [1]]);
        assert_eq!(
            attached(&[0, 1, 2, 3], &[3, 2, 1, 0]),
            [vec![3], vec![], vec![1], vec![0, 2]]
        );
        assert_eq!(attached(&[2], &[2]), [[2]], "all before it are attached");
    }

    /// What is attached of five, of which all but the first may be early, by so many threads.
    fn run_all(cpus: usize, load: fn(usize) -> bool, attach: fn(usize) -> bool) -> Vec<usize> {
        run(
            queue(&[0, 1, 2, 3, 4]),
            cpus,
            |turn, _| load(turn),
            |turn, _| attach(turn),
            // The third one waits for the last one.
            |turn, done| turn != 2 || done.contains(&4),
        )
    }

    #[test]
    fn all_are_attached_by_however_many_threads() {
        assert_eq!(run_all(1, |_| true, |_| true), [4, 3, 2, 1, 0]);
        for _ in 0..500 {
            let done = run_all(4, |_| true, |_| true);
            let place = |turn| done.iter().position(|it| *it == turn);
            assert_eq!(done.len(), 5, "{done:?}");
            let had_its_turn = place(0) < place(2) && place(1) < place(2);
            assert!(place(4) < place(2) || had_its_turn, "{done:?}");
        }
    }

    #[test]
    fn nothing_is_attached_behind_one_that_can_not_be_loaded_or_after_one_that_can_not_be_attached()
    {
        assert_eq!(run_all(1, |turn| turn != 3, |_| true), [4, 2, 1, 0]);
        assert_eq!(run_all(1, |_| true, |turn| turn != 3), [4]);
        for _ in 0..500 {
            let done = run_all(4, |turn| turn != 1, |_| true);
            assert!(!done.contains(&1) && done.contains(&0), "{done:?}");
            let done = run_all(4, |_| true, |turn| turn != 1);
            assert!(!done.contains(&1), "{done:?}");
        }
    }

    #[test]
    fn they_are_loaded_in_an_order_of_their_own() {
        let mut queue = queue(&[2, 0, 3]);
        assert_eq!(queue.turns, [0, 2, 3]);
        let mut order = std::iter::from_fn(|| Some(queue.to_load.pop()?.0));
        assert!(order.by_ref().eq([3, 2, 0]));
    }

    #[test]
    fn nothing_behind_a_refused_one_is_loaded_or_attached() {
        let mut queue = queue(&[0, 1, 2, 3]);
        queue.loaded.insert(3, "program");
        queue.refuse(2);
        assert_eq!(queue.turns, [0, 1]);
        assert_eq!(queue.to_load.len(), 2);
        assert_eq!(queue.next_to_attach(|_| true), None);
        queue.refuse(0);
        assert!(queue.to_load.is_empty() && queue.turns.is_empty());
    }
}
