use super::*;
use crate::{
    chat::{
        ChatMessage, ChatRequest, FinishReason, Prompt, ResponseFormat, Role, Sampling, TokenBias,
    },
    id::Hash,
    key::SecretKey,
    receipt::Receipt,
    signed::Scope,
    trace_context::TraceContext,
    work::EmbedRequest,
};
use proptest::{collection::vec, option, prelude::*, sample::Index};

const TASK: TaskId = TaskId([1; 32]);

fn text() -> impl Strategy<Value = String> {
    ".{0,20}"
}

fn delta() -> impl Strategy<Value = Delta> {
    let bytes = || vec(any::<u8>(), 0..6);
    let other = (any::<u32>(), bytes(), any::<i32>()).prop_map(|(token_id, bytes, logprob)| {
        Alternative { token_id, bytes, logprob_micro: logprob }
    });
    let logprob = (bytes(), any::<i32>(), vec(other, 0..3))
        .prop_map(|(bytes, logprob_micro, top)| TokenLogprob { bytes, logprob_micro, top });
    (any::<u32>(), text(), vec(any::<u32>(), 0..5), vec(logprob, 0..3)).prop_map(
        |(sequence, text, token_ids, logprobs)| Delta {
            task_id: TASK,
            sequence,
            text,
            token_ids,
            logprobs,
        },
    )
}

fn embedded() -> impl Strategy<Value = Embedded> {
    (any::<u32>(), any::<u32>(), vec(any::<u32>(), 0..9)).prop_map(
        |(sequence, dimensions, values)| Embedded { task_id: TASK, sequence, dimensions, values },
    )
}

fn chat() -> impl Strategy<Value = ChatRequest> {
    let role = prop_oneof![Just(Role::System), Just(Role::User), Just(Role::Assistant)];
    let message = (role, text()).prop_map(|(role, content)| ChatMessage { role, content });
    let prompt =
        prop_oneof![vec(message, 0..4).prop_map(Prompt::Messages), text().prop_map(Prompt::Text),];
    let format = prop_oneof![
        Just(ResponseFormat::Text),
        Just(ResponseFormat::JsonObject),
        text().prop_map(ResponseFormat::JsonSchema),
    ];
    let sampling = (any::<u32>(), any::<i32>(), any::<u64>()).prop_map(|(top_k, penalty, seed)| {
        Sampling { top_k, presence_penalty_milli: penalty, seed, ..Sampling::default() }
    });
    let bias = (any::<u32>(), any::<i32>());
    let bias = bias.prop_map(|(token, bias_milli)| TokenBias { token, bias_milli });
    let rest = (option::of(any::<u8>()), format, vec(any::<u32>(), 0..5), vec(bias, 0..3));
    (text(), prompt, sampling, any::<u32>(), vec(text(), 0..3), rest).prop_map(
        |(
            model,
            prompt,
            sampling,
            max_tokens,
            stop,
            (logprobs, response_format, resume, logit_bias),
        )| {
            ChatRequest {
                model,
                prompt,
                sampling,
                logit_bias,
                max_tokens,
                stop,
                logprobs,
                response_format,
                resume,
            }
        },
    )
}

fn task() -> impl Strategy<Value = Task> {
    let embed = (text(), vec(text(), 0..4))
        .prop_map(|(model, inputs)| Work::Embed(EmbedRequest { model, inputs }));
    let work = prop_oneof![chat().prop_map(Work::Chat), embed];
    let trace = option::of((any::<[u8; 16]>(), any::<[u8; 8]>(), any::<bool>()).prop_map(
        |(trace_id, span_id, is_sampled)| TraceContext { trace_id, span_id, is_sampled },
    ));
    (work, any::<u32>(), any::<u8>(), any::<u64>(), trace).prop_map(
        |(work, deadline_ms, priority, cache_scope, trace)| Task {
            task_id: TASK,
            work,
            deadline_ms,
            priority,
            price: Price::default(),
            credits: INITIAL_CREDITS,
            cache_scope,
            trace,
        },
    )
}

fn hello() -> impl Strategy<Value = Signed<Hello>> {
    let kind = prop_oneof![
        Just(ModelKind::Chat),
        any::<u32>().prop_map(|dimensions| ModelKind::Embedding { dimensions }),
    ];
    let features = prop::sample::subsequence(Feature::ALL.to_vec(), 0..=Feature::ALL.len());
    let offer =
        (text(), any::<u32>(), kind, features).prop_map(|(id, context_length, kind, features)| {
            ModelOffer {
                id,
                revision: Hash([3; 32]),
                context_length,
                price: Price::default(),
                kind,
                features,
            }
        });
    (vec(offer, 0..3), text()).prop_map(|(models, region)| {
        let key = SecretKey::from_seed(&[5; 32]);
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            nonce: [4; 32],
            server: Address([2; 32]),
            operator: Address([3; 32]),
            node: key.public(),
            advert: Advert { models, slots: 1, queue: 2, region },
            hardware: HardwareReport::default(),
            software: "test".into(),
        };
        let scope = Scope { chain_id: 4, contract: Address([9; 32]) };
        Signed::new(hello, scope, &key).expect("a hello has a BCS form")
    })
}

fn done() -> Done {
    let key = SecretKey::from_seed(&[5; 32]);
    let receipt = Receipt {
        task_id: TASK,
        server: Address([2; 32]),
        operator: Address([3; 32]),
        node: key.public(),
        model: "sprout".into(),
        model_revision: Hash([4; 32]),
        request_hash: Hash([5; 32]),
        output_hash: Hash([6; 32]),
        prompt_tokens: 1,
        output_tokens: 2,
        started_ms: 3,
        ttft_ms: 4,
        total_ms: 5,
        delegate: None,
        evidence_root: Hash::default(),
        price: Price::default(),
    };
    let scope = Scope { chain_id: 4, contract: Address([9; 32]) };
    let receipt = Signed::new(receipt, scope, &key).expect("a receipt has a BCS form");
    Done { finish_reason: FinishReason::Stop, receipt }
}

fn node_frame() -> impl Strategy<Value = NodeFrame> {
    let heartbeat = (any::<u16>(), vec(any::<u16>(), 0..4)).prop_map(|(active, unavailable)| {
        NodeFrame::Heartbeat(Heartbeat { active, unavailable, ..Heartbeat::default() })
    });
    let failed = text().prop_map(|message| {
        NodeFrame::Failed(Failed { task_id: TASK, reason: Failure::Unsupported, message })
    });
    prop_oneof![
        delta().prop_map(NodeFrame::Delta),
        embedded().prop_map(NodeFrame::Embedded),
        hello().prop_map(|hello| NodeFrame::Hello(Box::new(hello))),
        Just(()).prop_map(|()| NodeFrame::Done(Box::new(done()))),
        heartbeat,
        failed,
    ]
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let refused = text()
        .prop_map(|message| ServerFrame::Refused(Refused { reason: Refusal::BadAdvert, message }));
    prop_oneof![
        task().prop_map(|task| ServerFrame::Task(Box::new(task))),
        any::<u32>().prop_map(|deltas| ServerFrame::Credit { task_id: TASK, deltas }),
        Just(ServerFrame::Cancel { task_id: TASK }),
        refused,
    ]
}

/// Changes some bytes and cuts the end off.
fn harmed(mut bytes: Vec<u8>, harm: &[(Index, u8)], cut: Option<Index>) -> Vec<u8> {
    for (place, value) in harm {
        let place = place.index(bytes.len());
        bytes[place] = *value;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}

#[test]
fn a_frame_with_bytes_behind_it_is_refused() {
    let mut bytes = encode(&ServerFrame::Cancel { task_id: TASK }).unwrap();
    bytes.push(0);
    assert!(parse::<ServerFrame>(&bytes).is_err());
}

#[test]
fn a_frame_over_the_limit_is_refused_on_both_sides() {
    let text = "x".repeat(MAX_FRAME_BYTES);
    let delta = Delta { task_id: TASK, sequence: 0, text, token_ids: vec![], logprobs: vec![] };
    assert!(matches!(encode(&NodeFrame::Delta(delta)), Err(BadFrame::TooLong(_))));
    assert!(matches!(parse::<NodeFrame>(&vec![0; MAX_FRAME_BYTES + 1]), Err(BadFrame::TooLong(_))));
}

#[test]
fn the_largest_frames_within_their_bounds_fit() {
    let values = vec![u32::MAX; crate::answer::MAX_EMBEDDED_VALUES];
    let embedded = Embedded { task_id: TASK, sequence: 0, dimensions: 1024, values };
    assert!(encode(&NodeFrame::Embedded(embedded)).is_ok());
    let inputs = vec!["x".repeat(256); crate::work::MAX_EMBED_INPUTS];
    let request = EmbedRequest { model: "x".repeat(256), inputs };
    assert_eq!(request.check(), Ok(()));
    assert!(aptos_bcs::to_bytes(&Work::Embed(request)).unwrap().len() < MAX_FRAME_BYTES);
}

#[test]
fn a_claimed_length_reserves_no_memory() {
    // A delta whose list of token ids says that it has 2³¹ − 1 items.
    let mut bytes = vec![2];
    bytes.extend([0; 36]);
    bytes.push(0);
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0x07]);
    assert!(parse::<NodeFrame>(&bytes).is_err());
}

proptest! {
    #[test]
    fn every_frame_is_read_back(node in node_frame(), server in server_frame()) {
        prop_assert_eq!(&parse::<NodeFrame>(&encode(&node).unwrap()).unwrap(), &node);
        prop_assert_eq!(&parse::<ServerFrame>(&encode(&server).unwrap()).unwrap(), &server);
    }

    #[test]
    fn garbage_is_an_error_and_no_panic(
        tag in 0u8..8,
        bytes in vec(any::<u8>(), 0..600),
    ) {
        let _ = parse::<NodeFrame>(&bytes);
        let _ = parse::<ServerFrame>(&bytes);
        let tagged = [&[tag], bytes.as_slice()].concat();
        let _ = parse::<NodeFrame>(&tagged);
        let _ = parse::<ServerFrame>(&tagged);
    }

    #[test]
    fn what_is_read_has_no_second_form(
        node in node_frame(),
        server in server_frame(),
        harm in vec((any::<Index>(), any::<u8>()), 0..4),
        cut in option::of(any::<Index>()),
    ) {
        let bytes = harmed(encode(&node).unwrap(), &harm, cut);
        if let Ok(frame) = parse::<NodeFrame>(&bytes) {
            prop_assert_eq!(encode(&frame).unwrap(), bytes);
        }
        let bytes = harmed(encode(&server).unwrap(), &harm, cut);
        if let Ok(frame) = parse::<ServerFrame>(&bytes) {
            prop_assert_eq!(encode(&frame).unwrap(), bytes);
        }
    }

    #[test]
    fn checks_of_anything_that_can_be_read_never_panic(
        delta in delta(), embedded in embedded(), task in task(),
        alternatives in option::of(any::<u8>()),
    ) {
        let _ = delta.is_well_formed(alternatives);
        prop_assert_eq!(embedded.vectors().is_empty(), !embedded.is_well_formed());
        let _ = task.work.check();
        let _ = task.work.prompt_tokens_bound();
    }
}
