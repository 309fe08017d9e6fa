//! The model that ships with the repository, asked what it was not trained on.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

use std::path::{Path, PathBuf};

use cactus_inference::{ChatMessage, GenerateRequest, LoadOptions, Model, Prompt, Sampling};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

/// A line of `eval.jsonl`: a prompt held out from training and what a right answer is.
#[derive(Deserialize)]
struct Question {
    messages: Vec<ChatMessage>,
    check: Check,
    expected: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Check {
    Exact,
    Contains,
}

fn sprout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/sprout")
}

async fn is_right(model: &Model, question: Question) -> bool {
    let request = GenerateRequest {
        sampling: Sampling::greedy(),
        max_tokens: 160,
        ..GenerateRequest::new(Prompt::Chat(question.messages))
    };
    let answer = model.complete(request, CancellationToken::new()).await.unwrap();
    match question.check {
        Check::Exact => answer.text.trim() == question.expected,
        Check::Contains => answer.text.contains(&question.expected),
    }
}

#[tokio::test]
async fn sprout_answers_at_least_nine_in_ten_held_out_questions() {
    let model =
        Model::load(LoadOptions { slots: 8, queue: 1024, ..LoadOptions::new(sprout()) }).unwrap();
    let lines = std::fs::read_to_string(sprout().join("eval.jsonl")).unwrap();
    let questions: Vec<Question> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let total = questions.len();
    assert!(total >= 100, "{total} questions");
    let answers = questions.into_iter().map(|question| is_right(&model, question));
    let right = futures::future::join_all(answers).await.into_iter().filter(|right| *right).count();
    println!("{right} of {total} right");
    assert!(right * 10 >= total * 9, "{right} of {total} right");
}
