//! The running server: health, API, page.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;

use crate::config::Options;

use super::super::server::Server;
use super::super::{Failure, http};
use super::Check;

/// Asks for everything in turn; if nobody answers at all, that is the one finding.
pub async fn all(server: &Server, options: &Options) -> Vec<Check> {
    let health = match http::fetch(&server.operators, "/readyz", TIMEOUT).await {
        Ok(answer) if answer.status.is_success() => Check::ok("server", format!("{} is ready", server.operators)),
        Ok(answer) => {
            Check::fail("server", format!("{}/readyz answered {}", server.operators, answer.status), "see its log")
        }
        Err(failure) => {
            return vec![Check::fail("server", failure, "start it, or look at the machine alone with --offline")];
        }
    };
    let mut checks = vec![health];
    checks.extend(api(server).await);
    checks.push(websocket(server).await);
    if options.http.page {
        checks.push(page(server).await);
    }
    checks
}

async fn api(server: &Server) -> Option<Check> {
    const NAME: &str = "API";
    let path = server.method_path("info")?;
    let has_key = server.api_key.is_some();
    Some(match http::post(server, &path, &json!({}), TIMEOUT).await {
        Ok(answer) if answer.status.is_success() => Check::ok(NAME, format!("{}{path} answers", server.operators)),
        // Dev mode's key is known to the server alone.
        Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && !has_key => {
            Check::ok(NAME, format!("{}{path} is there and asks for a key", server.operators))
        }
        Ok(answer) if answer.status == StatusCode::UNAUTHORIZED => {
            Check::fail(NAME, "the running server has another key", "restart it with this configuration")
        }
        Ok(answer) => Check::fail(NAME, format!("{path} answered {}", answer.status), "is it this server's port?"),
        Err(failure) => unreachable(NAME, &failure),
    })
}

/// A request that is no WebSocket shows that the path is there, by what it is refused with.
async fn websocket(server: &Server) -> Check {
    const NAME: &str = "WebSocket";
    let path = &server.websocket_path;
    match http::fetch(&server.clients, path, TIMEOUT).await {
        Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
            Check::fail(NAME, format!("{}{path} is not there", server.clients), "is it this server's port?")
        }
        Ok(_) => Check::ok(NAME, format!("{}{path} is there", server.clients)),
        Err(failure) => unreachable(NAME, &failure),
    }
}

async fn page(server: &Server) -> Check {
    const NAME: &str = "page";
    match http::fetch(&server.operators, "/", TIMEOUT).await {
        Ok(answer) if answer.status.is_success() => Check::ok(NAME, format!("{}/", server.operators)),
        Ok(answer) => Check::fail(NAME, format!("answered {}", answer.status), "restart the server in dev mode"),
        Err(failure) => unreachable(NAME, &failure),
    }
}

fn unreachable(name: &'static str, failure: &Failure) -> Check {
    Check::fail(name, failure, "is a firewall in between?")
}

/// Chosen: the server is on this machine.
const TIMEOUT: Duration = Duration::from_secs(3);
