//! Settings of Redis as its engine takes them.

use std::sync::Arc;

use super::{Link, Started, tls};
use crate::config::{RedisLogin, RedisPlace, RedisSettings};
use crate::engine::outlet::Outlet;
use crate::engine::redis::{self, Address, Deployment, Login, Options, Sentinel};
use crate::telemetry::EngineMetrics;

pub fn start(settings: &RedisSettings, outlet: &Outlet, metrics: Arc<EngineMetrics>) -> Started {
    Ok(redis::start(&options(settings)?, outlet, metrics))
}

pub fn start_control(settings: &RedisSettings, uid: &str, metrics: Arc<EngineMetrics>) -> Result<Link, String> {
    Ok(redis::start_control(&options(settings)?, uid, metrics))
}

/// Errors: what can't be used, for the operator.
fn options(settings: &RedisSettings) -> Result<Options, String> {
    let deployments = settings.places.iter().map(deployment).collect::<Result<_, _>>()?;
    Ok(Options {
        prefix: settings.prefix.clone(),
        login: login(&settings.login),
        db: settings.db.into(),
        connect_timeout: settings.connect_timeout,
        io_timeout: settings.io_timeout,
        tls: settings.tls.as_ref().map(tls).transpose()?,
        reads_replicas: settings.reads_replicas,
        has_presence_fields: settings.has_presence_fields,
        ..Options::new(deployments)
    })
}

fn deployment(place: &RedisPlace) -> Result<Deployment, String> {
    Ok(match place {
        RedisPlace::At(address) => Deployment::Server(self::address(address)?),
        RedisPlace::Socket(path) => Deployment::Server(Address::Unix(path.clone())),
        RedisPlace::Cluster(addresses) => Deployment::Cluster(all(addresses)?),
        RedisPlace::Sentinels(sentinels) => Deployment::Sentinel(Sentinel {
            addresses: all(&sentinels.addresses)?,
            master_name: sentinels.master.clone(),
            login: login(&sentinels.login),
            tls: sentinels.tls.as_ref().map(tls).transpose()?,
        }),
    })
}

fn all(addresses: &[String]) -> Result<Vec<Address>, String> {
    addresses.iter().map(|text| address(text)).collect()
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).ok_or_else(|| format!("{text:?} is no host and port"))
}

fn login(login: &RedisLogin) -> Login {
    Login {
        user: login.user.clone().unwrap_or_default(),
        password: login.password.as_ref().map(|password| password.reveal().into()).unwrap_or_default(),
        client_name: login.client_name.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EngineSettings, Flags, read};

    fn options_of(lines: &str) -> Options {
        let text = format!("[engine]\ntype = \"redis\"\n{lines}");
        let (read, _) = read("a.toml", &text, &Flags::default()).unwrap_or_else(|error| panic!("{error}"));
        match &read.engines.started[0].settings {
            EngineSettings::Redis(settings) => options(settings).expect("it can be used"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn settings_arrive() {
        let read = options_of(
            "redis.address = [\"a\", \"redis+sentinel://b,[::1]:2/main?sentinel_user=s\", \"redis+cluster://c:3\"]\n\
             redis.user = \"u\"\nredis.password = \"p\"\nredis.client_name = \"n\"\nredis.prefix = \"x\"\n\
             redis.connect_timeout = \"2s\"\nredis.io_timeout = \"3s\"\n\
             redis.replica_client.enabled = true\nredis.presence_hash_field_ttl = true",
        );
        assert_eq!((read.prefix.as_str(), read.connect_timeout.as_secs(), read.io_timeout.as_secs()), ("x", 2, 3));
        assert!(read.reads_replicas && read.has_presence_fields);
        let Login { user, password, client_name } = &read.login;
        assert_eq!((user.as_str(), password.as_str(), client_name.as_str()), ("u", "p", "n"));
        let [Deployment::Server(at), Deployment::Sentinel(sentinel), Deployment::Cluster(nodes)] =
            &read.deployments[..]
        else {
            panic!("{read:?}")
        };
        assert_eq!(*at, Address::tcp("a", 6379));
        assert_eq!(sentinel.addresses, [Address::tcp("b", 26379), Address::tcp("::1", 2)]);
        assert_eq!((sentinel.master_name.as_str(), sentinel.login.user.as_str()), ("main", "s"));
        assert_eq!(*nodes, [Address::tcp("c", 3)]);
        let local = options_of("redis.address = \"unix:///run/redis.sock?db=2\"");
        assert!(matches!(&local.deployments[..], [Deployment::Server(Address::Unix(_))]) && local.db == 2);
        assert!(!local.reads_replicas && !local.has_presence_fields);
        let by_url = "redis.address = \"redis://a?replica_client_enabled=true&force_resp2=true\"";
        assert!(options_of(by_url).reads_replicas);
    }

    #[test]
    fn tls_is_looked_at_before_it_is_used() {
        let text = "[engine]\ntype = \"redis\"\nredis.address = \"rediss://a\"\n\
                    redis.tls.server_ca_pem = \"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\"";
        let (read, _) = read("a.toml", text, &Flags::default()).unwrap_or_else(|error| panic!("{error}"));
        let EngineSettings::Redis(settings) = &read.engines.started[0].settings else { panic!("Redis") };
        let reason = options(settings).expect_err("that is no certificate");
        assert!(reason.starts_with("tls: server_ca_pem: "), "{reason}");
    }
}
