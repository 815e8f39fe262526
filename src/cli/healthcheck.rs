//! `fanfare healthcheck`: what orchestrators run inside the container.

use serde_json::json;

use crate::config::{HealthcheckArguments, Output};

use super::server::Server;
use super::{Exit, Failure, block_on, http, print_json};

pub fn run(arguments: &HealthcheckArguments) -> Result<(), Failure> {
    // No secret is sent, and a certificate that was renewed a moment ago is no reason to be restarted.
    let endpoint = Server::find(&arguments.server)?.operators.with_any_certificate();
    let path = if arguments.live { "/livez" } else { "/readyz" };
    let url = format!("{endpoint}{path}");
    let outcome = block_on(http::fetch(&endpoint, path, arguments.timeout)).and_then(|answer| {
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        match answer.status.is_success() {
            true => Ok(body),
            false => Err(Failure::failed(format!("{url} answered {}: {body}", answer.status))),
        }
    });
    match (arguments.output.output, &outcome) {
        (Output::Text, Ok(_)) => println!("{url} is well"),
        (Output::Text, Err(_)) => {}
        (Output::Json, Ok(_)) => print_json(&json!({ "status": "ok", "url": url })),
        (Output::Json, Err(failure)) => {
            let status = if failure.exit == Exit::Unreachable { "unreachable" } else { "unwell" };
            print_json(&json!({ "status": status, "url": url, "reason": failure.to_string() }));
        }
    }
    outcome.map(|_| ())
}
