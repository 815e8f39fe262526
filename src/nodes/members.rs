//! Who is in the cluster besides this node.

use std::collections::{BTreeMap, VecDeque};
use tokio::time::Instant;

use super::report::{NodeName, Report};
use crate::limits::{NODE_LOST_KEPT, NODE_SILENCE_MAX, NODES_MAX};

/// Other nodes by their uid, at most [`NODES_MAX`].
///
/// One that was heard lately is *present*. One that fell silent without a goodbye is *lost*: nobody waits for it, but
/// it may still have clients, so answers name it for a while as one that is missing.
pub struct Members {
    others: BTreeMap<String, Member>,
    /// Who said goodbye lately: a report that comes after it was overtaken.
    parted: VecDeque<(String, Instant)>,
    /// When this node last heard itself. If that is long ago it is cut off, and can't tell who is silent.
    heard_self: Instant,
    has_heard_self: bool,
}

struct Member {
    report: Report,
    heard: Instant,
    /// It was told that this one is lost.
    is_told: bool,
}

/// What a report says about the membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    New,
    Known,
    /// It has said goodbye: the report is an old one.
    Parted,
    /// There are too many nodes to know one more.
    Refused,
}

impl Members {
    pub fn new(now: Instant) -> Members {
        Members { others: BTreeMap::new(), parted: VecDeque::new(), heard_self: now, has_heard_self: false }
    }

    /// A report of another node has come.
    pub fn hear(&mut self, report: Report, now: Instant) -> Heard {
        let uid = &report.node.uid;
        if self.parted.iter().any(|(parted, _)| parted == uid) {
            return Heard::Parted;
        }
        let was_known = self.others.contains_key(uid);
        if !was_known && self.others.len() >= NODES_MAX {
            return Heard::Refused;
        }
        self.others.insert(uid.clone(), Member { report, heard: now, is_told: false });
        if was_known { Heard::Known } else { Heard::New }
    }

    /// Something this node said has come back to it: what others say comes too. Returns whether it was cut off, and
    /// then it begins to judge anew.
    pub fn hear_self(&mut self, now: Instant) -> bool {
        let was_cut_off = self.is_cut_off(now);
        if was_cut_off {
            self.others.values_mut().for_each(|member| member.heard = now);
        }
        (self.heard_self, self.has_heard_self) = (now, true);
        was_cut_off
    }

    /// Whether what this node says comes to anybody, as far as it knows.
    pub fn is_connected(&self, now: Instant) -> bool {
        self.has_heard_self && !self.is_cut_off(now)
    }

    pub fn is_cut_off(&self, now: Instant) -> bool {
        now.duration_since(self.heard_self) > NODE_SILENCE_MAX
    }

    /// A node has said that it ends.
    pub fn part(&mut self, uid: &str, now: Instant) -> Option<NodeName> {
        if self.parted.len() >= NODES_MAX {
            self.parted.pop_front();
        }
        self.parted.push_back((uid.to_owned(), now));
        self.others.remove(uid).map(|member| member.report.node)
    }

    pub fn knows(&self, uid: &str) -> bool {
        self.others.contains_key(uid)
    }

    /// Nodes that were heard lately.
    pub fn present(&self, now: Instant) -> impl Iterator<Item = &Report> {
        self.others.values().filter(move |member| !self.is_silent(member, now)).map(|member| &member.report)
    }

    /// Nodes that fell silent, but for those whose name another process has taken over.
    pub fn lost(&self, now: Instant) -> impl Iterator<Item = &NodeName> {
        let is_succeeded = move |node: &NodeName| self.present(now).any(|other| other.node.name == node.name);
        let silent = self.others.values().filter(move |member| self.is_silent(member, now));
        silent.map(|member| &member.report.node).filter(move |node| !is_succeeded(node))
    }

    /// Forgets who is lost for long, and who parted. Returns who was lost since this was called last.
    pub fn look(&mut self, now: Instant) -> Vec<NodeName> {
        let is_over = |since: Instant| now.saturating_duration_since(since) > NODE_LOST_KEPT;
        self.parted.retain(|(_, parted)| !is_over(*parted));
        if self.is_cut_off(now) {
            return Vec::new();
        }
        self.others.retain(|_, member| !is_over(member.heard));
        let silent = self.others.values_mut().filter(|member| is_silent(member, now) && !member.is_told);
        let told = silent.map(|member| {
            member.is_told = true;
            member.report.node.clone()
        });
        told.collect()
    }

    /// A node that is cut off looks at the last moment when it was not.
    fn is_silent(&self, member: &Member, now: Instant) -> bool {
        is_silent(member, if self.is_cut_off(now) { self.heard_self } else { now })
    }
}

fn is_silent(member: &Member, now: Instant) -> bool {
    now.saturating_duration_since(member.heard) > NODE_SILENCE_MAX
}

const _: () = assert!(NODE_LOST_KEPT.as_secs() > NODE_SILENCE_MAX.as_secs(), "who is lost is named for a while");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::nodes::tests::report;

    /// Uids of who is present, and of who is lost.
    fn check(members: &Members, now: Instant, present: &[&str], lost: &[&str]) {
        let uids: Vec<_> = members.present(now).map(|report| report.node.uid.as_str()).collect();
        let lost_uids: Vec<_> = members.lost(now).map(|node| node.uid.as_str()).collect();
        assert_eq!((&uids[..], &lost_uids[..]), (present, lost));
    }

    #[test]
    fn who_is_silent_is_lost_and_then_forgotten() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut members = Members::new(start);
        assert_eq!(members.hear(report("a", "one"), at(0)), Heard::New);
        assert_eq!(members.hear(report("b", "two"), at(0)), Heard::New);
        for second in 1..=70 {
            members.hear_self(at(second));
            assert_eq!(members.hear(report("b", "two"), at(second)), Heard::Known);
        }
        check(&members, at(9), &["a", "b"], &[]);
        check(&members, at(10), &["b"], &["a"]);
        assert_eq!(members.look(at(10)).len(), 1);
        assert_eq!(members.look(at(11)), [], "it was told before");
        check(&members, at(60), &["b"], &["a"]);
        members.look(at(70));
        check(&members, at(70), &["b"], &[]);
    }

    #[test]
    fn a_goodbye_is_not_taken_back_by_an_older_report() {
        let start = Instant::now();
        let mut members = Members::new(start);
        members.hear(report("a", "one"), start);
        assert!(members.part("a", start).is_some());
        assert_eq!(members.hear(report("a", "one"), start), Heard::Parted);
        check(&members, start, &[], &[]);
        members.look(start + NODE_LOST_KEPT + Duration::from_secs(1));
        assert_eq!(members.hear(report("a", "one"), start), Heard::New);
    }

    #[test]
    fn a_node_that_was_restarted_is_not_missed() {
        let start = Instant::now();
        let later = start + NODE_SILENCE_MAX + Duration::from_secs(1);
        let mut members = Members::new(start);
        members.hear(report("a", "one"), start);
        members.hear_self(start + NODE_SILENCE_MAX);
        members.hear(report("c", "other"), later);
        check(&members, later, &["c"], &["a"]);
        members.hear(report("b", "one"), later);
        check(&members, later, &["b", "c"], &[]);
    }

    #[test]
    fn who_does_not_hear_itself_judges_nobody() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1000);
        let mut members = Members::new(start);
        members.hear(report("a", "one"), start);
        assert!(members.is_cut_off(later));
        check(&members, later, &["a"], &[]);
        assert_eq!(members.look(later), []);
        assert!(members.hear_self(later), "it was cut off");
        check(&members, later, &["a"], &[]);
        let end = later + NODE_SILENCE_MAX + Duration::from_secs(1);
        members.hear_self(later + NODE_SILENCE_MAX);
        check(&members, end, &[], &["a"]);
    }

    #[test]
    fn a_crowd_is_bounded() {
        let now = Instant::now();
        let mut members = Members::new(now);
        for number in 0..NODES_MAX {
            assert_eq!(members.hear(report(&number.to_string(), "n"), now), Heard::New);
        }
        assert_eq!(members.hear(report("one more", "n"), now), Heard::Refused);
        assert_eq!(members.hear(report("0", "n"), now), Heard::Known);
    }
}
