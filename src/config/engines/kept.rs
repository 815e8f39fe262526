//! Which engines must keep something, because a namespace says so: a server without a store is no good there.

use super::super::check::namespace_scopes;
use super::super::settings::Scope;
use super::{EngineSettings, Engines};
use crate::model::EngineIndex;

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
