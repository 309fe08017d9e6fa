//! Generic calls within a module reach finitely many instantiations: no cycle of calls may put a
//! type parameter into a larger type. Never follows calls into other modules: imports form no
//! cycle.

use std::collections::HashMap;

use crate::format::{Bytecode, Token, Use};
use crate::{CompiledModule, VmError};

/// The flow of a type parameter of a caller into one of a callee.
struct Flow {
    to: usize,
    /// The parameter became a part of a larger type.
    grows: bool,
}

pub(super) fn check(module: &CompiledModule) -> Result<(), VmError> {
    let flows = flows(module);
    let component = components(&flows);
    let grows_in_a_cycle = |(from, list): (usize, &Vec<Flow>)| {
        list.iter().any(|flow| flow.grows && component[from] == component[flow.to])
    };
    if flows.iter().enumerate().any(grows_in_a_cycle) {
        return Err(VmError::new("LOOP_IN_INSTANTIATION_GRAPH", module.id().to_string()));
    }
    Ok(())
}

/// For each type parameter of each function of the module, where it flows to.
fn flows(module: &CompiledModule) -> Vec<Vec<Flow>> {
    let mut first = HashMap::new();
    let mut count = 0;
    for def in &module.function_defs {
        first.insert(def.handle, count);
        count += module.handle_of(def).type_params.len();
    }
    let mut flows: Vec<Vec<Flow>> = Vec::new();
    flows.resize_with(count, Vec::new);
    for def in &module.function_defs {
        let own = first[&def.handle];
        for op in def.code.iter().flat_map(|code| &code.code) {
            let Bytecode::Call(Use::Generic(inst)) = op else { continue };
            let inst = module.function_insts[usize::from(*inst)];
            let Some(callee) = first.get(&inst.of) else { continue };
            for (position, argument) in module.signature(inst.type_args).iter().enumerate() {
                let mut used = Vec::new();
                parameters(argument, &mut used);
                for parameter in used {
                    let grows = !matches!(argument, Token::Parameter(_));
                    flows[own + usize::from(parameter)].push(Flow { to: callee + position, grows });
                }
            }
        }
    }
    flows
}

/// The type parameters named in a type.
fn parameters(token: &Token, found: &mut Vec<u16>) {
    match token {
        Token::Parameter(index) => found.push(*index),
        Token::Vector(inner) | Token::Reference(inner) | Token::MutReference(inner) => {
            parameters(inner, found);
        }
        Token::Struct(_, arguments) => {
            arguments.iter().for_each(|argument| parameters(argument, found));
        }
        _ => {}
    }
}

/// The strongly connected component of each node, by two walks without recursion (Kosaraju).
fn components(flows: &[Vec<Flow>]) -> Vec<usize> {
    let forward: Vec<Vec<usize>> =
        flows.iter().map(|list| list.iter().map(|flow| flow.to).collect()).collect();
    let mut backward: Vec<Vec<usize>> = vec![Vec::new(); flows.len()];
    for (from, list) in forward.iter().enumerate() {
        list.iter().for_each(|to| backward[*to].push(from));
    }
    let mut order = Vec::new();
    let mut seen = vec![false; flows.len()];
    for start in 0..flows.len() {
        walk(&forward, start, &mut seen, |node| order.push(node));
    }
    let mut component = vec![0; flows.len()];
    let mut seen = vec![false; flows.len()];
    for start in order.into_iter().rev() {
        walk(&backward, start, &mut seen, |node| component[node] = start);
    }
    component
}

/// Visits what `start` reaches and was not seen, each node after what it reaches.
fn walk(next: &[Vec<usize>], start: usize, seen: &mut [bool], mut visit: impl FnMut(usize)) {
    if std::mem::replace(&mut seen[start], true) {
        return;
    }
    let mut path = vec![(start, 0)];
    while let Some((node, at)) = path.last_mut() {
        match next[*node].get(*at) {
            None => {
                visit(*node);
                path.pop();
            }
            Some(to) => {
                *at += 1;
                if !std::mem::replace(&mut seen[*to], true) {
                    path.push((*to, 0));
                }
            }
        }
    }
}
