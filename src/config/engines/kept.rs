//! Which engines must keep something, because a namespace says so: a server without a store is no good there.

use super::super::check::namespace_scopes;
use super::super::settings::Scope;
use super::{EngineSettings, Engines, EnginesOptions, JetStream};
use crate::model::EngineIndex;

impl EngineSettings {
    /// Whether a server that can keep nothing is no good.
    pub fn needs_store(&self) -> bool {
        matches!(self, EngineSettings::Nats(nats) if nats.jetstream == JetStream::On || nats.keeps.is_some())
    }
}

impl EnginesOptions {
    /// Whether these are the same engines, whatever namespaces have there.
    pub fn are_those_of(&self, other: &EnginesOptions) -> bool {
        self.whoever_keeps() == other.whoever_keeps()
    }

    fn whoever_keeps(&self) -> EnginesOptions {
        let mut engines = self.clone();
        for engine in &mut engines.started {
            if let EngineSettings::Nats(nats) = &mut engine.settings {
                nats.keeps = None;
            }
        }
        engines
    }
}

impl Engines {
    /// Tells each engine of NATS the first namespace that it keeps history or presence of.
    pub(super) fn note_what_is_kept(&mut self, root: &Scope<'_>) {
        self.note(&root.table("channel.without_namespace"), "channel.without_namespace");
        for scope in namespace_scopes(root) {
            let owner = format!("namespace {:?}", scope.text("name").unwrap_or_default());
            self.note(&scope, &owner);
        }
    }

    fn note(&mut self, scope: &Scope<'_>, owner: &str) {
        if scope.count("history_size") > 0 {
            self.keeps(self.broker_of(scope), format!("{owner} has history"));
        }
        if scope.flag("presence") || scope.flag("join_leave") {
            self.keeps(self.presence_manager_of(scope), format!("{owner} has presence"));
        }
    }

    fn keeps(&mut self, index: EngineIndex, what: String) {
        let at = usize::from(index.0).checked_sub(1);
        let engine = at.and_then(|at| self.options.started.get_mut(at));
        if let Some(EngineSettings::Nats(nats)) = engine.map(|engine| &mut engine.settings) {
            nats.keeps.get_or_insert(what);
        }
    }
}
