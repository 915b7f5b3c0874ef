#![allow(missing_docs, clippy::all, clippy::pedantic)]
use crate::{engine::fold, ir::Model, pass::*, passes::AnyPass};
pub fn simplify(model: &mut Model, ids: &[&str]) -> anyhow::Result<()> {
    let passes: Vec<AnyPass> = ids.iter().map(|i| AnyPass::named(i).unwrap()).collect();
    let refs: Vec<&dyn Pass> = passes.iter().map(|p| p.as_pass()).collect();
    let mut cx = PassContext::new(model, &fold::evaluate, &fold::covers);
    let r = run_set(model, &refs, &mut cx)?;
    for (id, s) in r {
        eprintln!("{id}: {} {:?}", s.applied, s.skipped);
    }
    Ok(())
}
