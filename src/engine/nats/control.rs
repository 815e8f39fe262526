//! Messages between nodes: subjects of their own, at most once.

use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::select;
use tokio::sync::mpsc;

use super::super::contract::Control;
use super::link::{self, Session, Sessions};
use super::options::Options;
use super::subjects::{Subjects, escape};
use crate::limits::CONTROL_MESSAGES_MAX;
use crate::telemetry::EngineMetrics;

/// Starts the node messages of the node that others call `node`. What comes for it goes into the receiver; when that
/// is full, what comes is lost.
pub fn start_control(
    options: Options,
    node: &str,
    metrics: Arc<EngineMetrics>,
) -> (Arc<dyn Control>, mpsc::Receiver<Bytes>) {
    let subjects = Subjects::new(&options);
    let heard = [subjects.of("control"), subject_of(&subjects, node)];
    let sessions = link::keep(options, metrics);
    let (outgoing, outgoing_receiver) = mpsc::channel(CONTROL_MESSAGES_MAX);
    let (incoming, incoming_receiver) = mpsc::channel(CONTROL_MESSAGES_MAX);
    tokio::spawn(send_all(outgoing_receiver, sessions.clone()));
    tokio::spawn(hear_all(heard, incoming, sessions));
    (Arc::new(Messages { subjects, outgoing }), incoming_receiver)
}

struct Messages {
    subjects: Subjects,
    outgoing: mpsc::Sender<(String, Bytes)>,
}

impl Control for Messages {
    fn broadcast(&self, message: Bytes) {
        // At most once: a full queue is as good as a broken connection.
        let _ = self.outgoing.try_send((self.subjects.of("control"), message));
    }

    fn send(&self, node: &str, message: Bytes) {
        let _ = self.outgoing.try_send((subject_of(&self.subjects, node), message));
    }
}

fn subject_of(subjects: &Subjects, node: &str) -> String {
    subjects.of(&format!("node.{}", escape(node)))
}

async fn send_all(mut outgoing: mpsc::Receiver<(String, Bytes)>, sessions: Sessions) {
    while let Some((subject, message)) = outgoing.recv().await {
        let session = sessions.borrow().clone();
        if let Some(session) = session {
            let _ = session.publish(subject, message).await;
        }
    }
}

async fn hear_all(subjects: [String; 2], incoming: mpsc::Sender<Bytes>, mut sessions: Sessions) {
    loop {
        let session = sessions.borrow_and_update().clone();
        let hearing = async {
            if let Some(session) = &session {
                hear(session, &subjects, &incoming).await;
            }
            // The next session is what comes then.
            pending::<()>().await;
        };
        tokio::select! {
            () = incoming.closed() => return,
            changed = sessions.changed() => if changed.is_err() { return },
            () = hearing => {}
        }
    }
}

async fn hear(session: &Session, subjects: &[String; 2], incoming: &mpsc::Sender<Bytes>) {
    let [all, own] = subjects;
    let all = session.subscribe(all.clone()).await;
    let own = session.subscribe(own.clone()).await;
    if let (Ok(all), Ok(own)) = (all, own) {
        let mut messages = select(all, own);
        while let Some(message) = messages.next().await {
            let _ = incoming.try_send(message.payload);
        }
    }
}
