//! Settings of NATS as its engine takes them.

use std::sync::Arc;

use super::{Link, Started, tls};
use crate::config::{JetStream, NatsLogin, NatsSettings};
use crate::engine::nats::{self, Credentials, Options, RawMode, UseJetStream};
use crate::engine::outlet::Outlet;
use crate::telemetry::EngineMetrics;

pub fn start(settings: &NatsSettings, outlet: Outlet, metrics: Arc<EngineMetrics>) -> Started {
    Ok(nats::start(options(settings)?, outlet, metrics))
}

pub fn start_control(settings: &NatsSettings, uid: &str, metrics: Arc<EngineMetrics>) -> Result<Link, String> {
    // The words of nodes are not kept.
    let options = Options { jetstream: UseJetStream::Off, keeps: None, ..options(settings)? };
    Ok(nats::start_control(options, uid, metrics))
}

/// Errors: what can't be used, for the operator.
fn options(settings: &NatsSettings) -> Result<Options, String> {
    let subjects = settings.subjects.as_ref();
    let raw = subjects.and_then(|subjects| subjects.raw.clone());
    let scheme = if settings.tls.is_some() { "tls" } else { "nats" };
    Ok(Options {
        urls: settings.servers.iter().map(|server| format!("{scheme}://{server}")).collect(),
        prefix: settings.prefix.clone(),
        dial_timeout: settings.dial_timeout,
        write_timeout: settings.write_timeout,
        tls: settings.tls.as_ref().map(|settings| tls(settings).map(|tls| (*tls.config()).clone())).transpose()?,
        credentials: credentials(&settings.login),
        allow_wildcards: subjects.is_some_and(|subjects| subjects.allow_wildcards),
        raw_mode: raw.map_or_else(RawMode::default, |raw| RawMode {
            enabled: true,
            channel_replacements: raw.replacements.into_iter().collect(),
            prefix: raw.prefix,
        }),
        jetstream: match settings.jetstream {
            JetStream::Auto => UseJetStream::Auto,
            JetStream::On => UseJetStream::On,
            JetStream::Off => UseJetStream::Off,
        },
        replicas: settings.replicas,
        keeps: settings.keeps.clone(),
    })
}

fn credentials(login: &NatsLogin) -> Credentials {
    match login {
        NatsLogin::Nobody => Credentials::None,
        NatsLogin::User(name, password) => Credentials::User { name: name.clone(), password: password.reveal().into() },
        NatsLogin::Token(token) => Credentials::Token(token.reveal().into()),
        NatsLogin::NKey(seed) => Credentials::NkeySeed(seed.reveal().into()),
        NatsLogin::Credentials(path) => Credentials::File(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EngineSettings, Flags, read};

    #[test]
    fn settings_arrive() {
        let text = "[engine]\ntype = \"nats\"\n[engine.nats]\nurl = \"nats://ann:pw@a,tls://b:1\"\nprefix = \"x\"\n\
                    replicas = 3\njetstream = \"on\"\n[engine.nats.raw_mode]\nenabled = true\nprefix = \"in.\"\n\
                    channel_replacements = { \":\" = \".\" }";
        let (read, _) = read("a.toml", text, &Flags::default()).unwrap_or_else(|error| panic!("{error}"));
        let EngineSettings::Nats(settings) = &read.engines.started[0].settings else { panic!("NATS") };
        let options = options(settings).expect("it can be used");
        assert_eq!(options.urls, ["tls://a:4222", "tls://b:1"]);
        assert!(options.tls.is_some());
        assert_eq!((options.prefix.as_str(), options.replicas, options.jetstream), ("x", 3, UseJetStream::On));
        let Credentials::User { name, password } = options.credentials else { panic!("a user") };
        assert_eq!((name.as_str(), password.as_str()), ("ann", "pw"));
        assert!(options.raw_mode.enabled && options.raw_mode.prefix == "in.");
        assert_eq!(options.raw_mode.channel_replacements[":"], ".");
        assert_eq!(options.keeps, None);
    }

    #[test]
    fn an_engine_knows_for_whom_it_keeps_something() {
        let keeps = |lines: &str| {
            let text = format!("engine.type = \"nats\"\n{lines}");
            let (read, _) = read("a.toml", &text, &Flags::default()).unwrap_or_else(|error| panic!("{error}"));
            let nats = read.engines.started.iter().find_map(|engine| match &engine.settings {
                EngineSettings::Nats(settings) => Some(settings),
                _ => None,
            });
            options(nats.expect("there is NATS")).expect("it can be used").keeps
        };
        let history = "[[channel.namespaces]]\nname = \"chat\"\nhistory_size = 9\nhistory_ttl = \"60s\"";
        assert_eq!(keeps(history).as_deref(), Some("namespace \"chat\" has history"));
        let presence = keeps("channel.without_namespace.presence = true");
        assert_eq!(presence.as_deref(), Some("channel.without_namespace has presence"));
        let elsewhere = "broker.enabled = true\nbroker.type = \"redis\"\n";
        assert_eq!(keeps(&format!("{elsewhere}{history}")), None, "NATS has presence alone there");
    }
}
