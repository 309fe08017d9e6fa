//! An embedding task from admission to its receipt. It bills the tokens that were embedded, and
//! never vectors that are not numbers.

use crate::{
    assignment::{Assignment, Bill, Fault, Outlet},
    vector_model::VectorModel,
};
use cactus_inference::{EmbedError, Embeddings};
use cactus_protocol::{
    FinishReason, NodeFrame, OutputHasher,
    frame::{Done, Embedded, Failure},
};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// Values of one frame at most: 128 KiB, so that other tasks' frames are not held up for long.
const VALUES_PER_FRAME: usize = 32 * 1024;

/// A task whose texts the model has.
pub(crate) struct EmbedJob {
    assignment: Assignment,
    model: Arc<dyn VectorModel>,
    inputs: Vec<String>,
    /// As long as it is there, the node says that it is busy with this.
    _counted: Arc<()>,
}

impl EmbedJob {
    pub(crate) fn new(
        assignment: Assignment,
        model: Arc<dyn VectorModel>,
        inputs: Vec<String>,
        counted: Arc<()>,
    ) -> Self {
        Self { assignment, model, inputs, _counted: counted }
    }

    /// Runs to the end; the last frame is `Done` or `Failed`.
    pub(crate) async fn run(mut self, mut outlet: Outlet) {
        let inputs = std::mem::take(&mut self.inputs);
        let task = self.assignment.task.clone();
        let outcome = self.answer(inputs, &mut outlet).await;
        outlet.close(&task, outcome).await;
    }

    async fn answer(self, inputs: Vec<String>, outlet: &mut Outlet) -> Result<Done, Fault> {
        let (assignment, count) = (self.assignment, inputs.len());
        let deadline = assignment.deadline();
        let cancel = assignment.cancel.clone();
        // Cancel-safe: the model drops the work with the future, and a cut task bills nothing.
        let work = async {
            let embeddings = self.model.embed(inputs, cancel.clone()).await;
            let embeddings = embeddings.map_err(|error| fault_of_model(error, &assignment))?;
            let first_part = Instant::now();
            let frames = frames(&embeddings, count, self.model.dimensions())?;
            let mut hasher = OutputHasher::default();
            for (sequence, values) in (0..).zip(frames) {
                hasher.update_values(&values);
                let task_id = assignment.task.task_id;
                let dimensions = self.model.dimensions();
                outlet.send(Embedded { task_id, sequence, dimensions, values }).await?;
            }
            Ok::<_, Fault>(Bill {
                finish_reason: FinishReason::Stop,
                prompt_tokens: embeddings.prompt_tokens,
                output_tokens: 0,
                output_hash: hasher.finish(),
                first_part,
                last_part: Instant::now(),
            })
        };
        let bill = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(assignment.stopped()),
            bill = timeout_at(deadline, work) => {
                bill.map_err(|_| Fault::cancelled("the deadline passed"))??
            }
        };
        assignment.sign(&bill)
    }
}

impl Outlet {
    /// Sends vectors when the server has granted room for them.
    async fn send(&mut self, embedded: Embedded) -> Result<(), Fault> {
        let closed = || Fault::cancelled("the link closed");
        let sequence = u64::from(embedded.sequence);
        self.granted.wait_for(|all| *all > sequence).await.map_err(|_| closed())?;
        self.frames.send(NodeFrame::Embedded(embedded)).await.map_err(|_| closed())
    }
}

/// The bits of whole vectors, cut into frames; refuses what no receipt can stand for.
fn frames(embeddings: &Embeddings, count: usize, dimensions: u32) -> Result<Vec<Vec<u32>>, Fault> {
    let width = usize::try_from(dimensions).unwrap_or(usize::MAX);
    let vectors = &embeddings.vectors;
    let is_vector =
        |vector: &Vec<f32>| vector.len() == width && vector.iter().all(|value| value.is_finite());
    if width == 0 || vectors.len() != count || !vectors.iter().all(is_vector) {
        return Err(Fault::of_broken_engine("the vectors are not what was asked for"));
    }
    let bits = |vectors: &[Vec<f32>]| vectors.iter().flatten().map(|v| v.to_bits()).collect();
    Ok(vectors.chunks((VALUES_PER_FRAME / width).max(1)).map(bits).collect())
}

fn fault_of_model(error: EmbedError, assignment: &Assignment) -> Fault {
    match error {
        EmbedError::Overloaded => Fault::new(Failure::Overloaded, "the model's queue is full"),
        EmbedError::Cancelled => assignment.stopped(),
        EmbedError::BadRequest(message) => Fault { reason: Failure::BadRequest, message },
        EmbedError::Internal(detail) => Fault::of_broken_engine(&detail),
    }
}
