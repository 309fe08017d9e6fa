//! Which tasks run and which were answered, so that one task never gets two receipts: two signed
//! receipts for one task are proof of fraud. It never holds prompts or answers.

use cactus_protocol::{Address, TaskId};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many answered tasks are remembered; older ones are long settled or expired.
const REMEMBERED: usize = 1 << 16;

/// Task ids are unique per server.
type Key = (Address, TaskId);

/// The tasks of a node, over all its links.
#[derive(Debug, Default)]
pub(crate) struct TaskBook {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    running: HashSet<Key>,
    answered: HashSet<Key>,
    oldest_first: VecDeque<Key>,
}

/// The right to run a task and to sign one receipt for it. Dropping it gives the task up.
#[derive(Debug)]
pub(crate) struct Claim {
    book: Arc<TaskBook>,
    key: Key,
}

impl TaskBook {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a task, unless it runs already or was answered.
    pub(crate) fn claim(self: &Arc<Self>, server: Address, task_id: TaskId) -> Option<Claim> {
        let key = (server, task_id);
        let mut pages = self.pages();
        if pages.answered.contains(&key) || !pages.running.insert(key) {
            return None;
        }
        Some(Claim { book: Arc::clone(self), key })
    }
}

impl Claim {
    /// Call before signing: from now on nobody can claim this task again.
    pub(crate) fn close(self) {
        let mut pages = self.book.pages();
        pages.answered.insert(self.key);
        pages.oldest_first.push_back(self.key);
        if pages.oldest_first.len() > REMEMBERED
            && let Some(oldest) = pages.oldest_first.pop_front()
        {
            pages.answered.remove(&oldest);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.book.pages().running.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Address = Address([1; 32]);

    #[test]
    fn an_answered_task_cannot_be_claimed_again_but_a_failed_one_can() {
        let book = Arc::new(TaskBook::default());
        let task = TaskId([2; 32]);
        let claim = book.claim(SERVER, task).unwrap();
        assert!(book.claim(SERVER, task).is_none(), "it runs");
        drop(claim);
        let again = book.claim(SERVER, task).expect("it failed before");
        again.close();
        assert!(book.claim(SERVER, task).is_none(), "it was answered");
        assert!(book.claim(Address([9; 32]), task).is_some());
    }

    #[test]
    fn the_book_forgets_the_oldest_answers_and_stays_bounded() {
        let book = Arc::new(TaskBook::default());
        for index in 0..=REMEMBERED {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&index.to_le_bytes());
            book.claim(SERVER, TaskId(id)).unwrap().close();
        }
        assert_eq!(book.pages().answered.len(), REMEMBERED);
        assert!(book.pages().running.is_empty());
        assert!(book.claim(SERVER, TaskId([0; 32])).is_some());
    }
}
