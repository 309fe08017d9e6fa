//! What nodes really are and do. Servers never see this: they see what comes of their tasks.

use std::collections::VecDeque;

/// How a node behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Conduct {
    /// Well; one task in two hundred fails all the same.
    Honest,
    /// Well until so many thousandths of the time; then it takes tasks and says nothing.
    Hangs { from_milli: u32 },
    /// Well, but its link breaks every now and then, with all tasks on it.
    Dies,
    /// Honestly, but it has fewer slots than it says.
    Overpromises,
    /// So many thousandths of its tasks end in nothing or in a receipt that does not stand.
    Bad { milli: u32 },
}

/// What a node is.
#[derive(Debug, Clone, Copy)]
pub struct Truth {
    /// Seconds to the first token of a prompt of [`USUAL_PROMPT`] tokens.
    pub ttft: f64,
    /// Seconds between tokens.
    pub itl: f64,
    pub slots: u16,
    pub claimed_slots: u16,
    pub queue: u16,
    pub stake: u64,
    /// Octas per 1,000 tokens.
    pub price: u64,
    pub conduct: Conduct,
}

/// Tokens of a usual prompt, and of a usual answer.
pub const USUAL_PROMPT: f64 = 200.0;
const USUAL_OUTPUT: f64 = 100.0;

impl Truth {
    /// Seconds to the first token, and from there to the last.
    pub fn seconds(&self, prompt_tokens: u32, output_tokens: u32) -> (f64, f64) {
        let scale = 0.5 + 0.5 * f64::from(prompt_tokens) / USUAL_PROMPT;
        (self.ttft * scale, self.itl * f64::from(output_tokens))
    }

    /// What it can carry.
    pub fn requests_per_second(&self) -> f64 {
        f64::from(self.slots) / (self.ttft + self.itl * USUAL_OUTPUT)
    }

    /// Work sent there is lost, or nearly.
    pub fn is_bad(&self) -> bool {
        matches!(self.conduct, Conduct::Bad { .. } | Conduct::Overpromises | Conduct::Hangs { .. })
    }
}

/// Names a task.
pub type TaskId = usize;

/// The tasks on a node, from all servers.
#[derive(Debug, Default)]
pub struct Work {
    pub running: Vec<TaskId>,
    pub waiting: VecDeque<TaskId>,
}

impl Work {
    /// Tasks there.
    pub fn count(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    /// Takes a task out, wherever it is.
    pub fn remove(&mut self, task: TaskId) {
        self.running.retain(|other| *other != task);
        self.waiting.retain(|other| *other != task);
    }
}
