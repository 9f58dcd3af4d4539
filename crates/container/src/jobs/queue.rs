//! The queue of the local batch system: first come, first served within an owner, and the owners
//! take turns, so that one who brings a hundred jobs does not make the next one wait for them all.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Items of owners, in turns.
#[derive(Debug)]
pub(crate) struct FairQueue<O, T> {
    of_owner: HashMap<O, VecDeque<T>>,
    turns: VecDeque<O>,
}

impl<O, T> Default for FairQueue<O, T> {
    fn default() -> Self {
        Self { of_owner: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<O: Clone + Eq + Hash, T: PartialEq> FairQueue<O, T> {
    /// Puts an item behind its owner's others.
    pub(crate) fn push(&mut self, owner: O, item: T) {
        let items = self.of_owner.entry(owner.clone()).or_default();
        if items.is_empty() {
            self.turns.push_back(owner);
        }
        items.push_back(item);
    }

    /// Takes the first item of the owner whose turn it is; his next one waits for the others'.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let owner = self.turns.pop_front()?;
        let items = self.of_owner.get_mut(&owner)?;
        let item = items.pop_front();
        if items.is_empty() {
            self.of_owner.remove(&owner);
        } else {
            self.turns.push_back(owner);
        }
        item
    }

    /// Takes an item out; whether it was there.
    pub(crate) fn remove(&mut self, owner: &O, item: &T) -> bool {
        let Some(items) = self.of_owner.get_mut(owner) else { return false };
        let before = items.len();
        items.retain(|other| other != item);
        let removed = items.len() < before;
        if items.is_empty() {
            self.of_owner.remove(owner);
            self.turns.retain(|other| other != owner);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::FairQueue;

    fn of(items: &[(char, u32)]) -> FairQueue<char, u32> {
        let mut queue = FairQueue::default();
        for (owner, item) in items {
            queue.push(*owner, *item);
        }
        queue
    }

    fn drain(mut queue: FairQueue<char, u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn owners_take_turns() {
        assert_eq!(drain(of(&[('a', 1), ('a', 2), ('a', 3), ('b', 4), ('c', 5)])), [1, 4, 5, 2, 3]);
        assert_eq!(drain(of(&[('a', 1), ('a', 2)])), [1, 2]);
        assert_eq!(drain(of(&[])), [0_u32; 0]);
    }

    #[test]
    fn what_is_taken_out_has_no_turn() {
        let mut queue = of(&[('a', 1), ('b', 2), ('b', 3)]);
        assert!(queue.remove(&'a', &1));
        assert!(!queue.remove(&'a', &1));
        assert!(queue.remove(&'b', &3));
        assert_eq!(drain(queue), [2]);
    }
}
