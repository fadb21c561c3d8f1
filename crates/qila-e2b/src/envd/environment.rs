//! `/envs`: the variables that a program in the sandbox has.
use super::access::admit;
use super::{Envd, limit, plain};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use qila_api::{ApiError, Exec, Kind, Output, Result};
use std::collections::BTreeMap;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn envs(State(envd): State<Envd>, parts: Parts) -> Response {
    let access = match admit(&envd, &parts, None).await {
        Ok(access) => access,
        Err(response) => return *response,
    };
    let told = tokio::time::timeout(PATIENCE, ask(&access)).await;
    let late = || ApiError::new(Kind::Timeout, "the sandbox did not say its variables in time");
    match told.unwrap_or_else(|_| Err(late())) {
        Ok(variables) => Json(variables).into_response(),
        Err(e) => plain::error(&access.explain(e).await),
    }
}

/// Nobody knows them better than a program that was given them.
async fn ask(access: &super::access::Access) -> Result<BTreeMap<String, String>> {
    let exec = Exec {
        argv: vec!["env".into(), "-0".into()],
        ..Exec::default()
    };
    let mut process = access.node().exec(&access.tenant, &access.id, exec).await?;
    let mut said = Vec::new();
    while let Some(output) = process.output.recv().await {
        match output {
            Output::Stdout(bytes) if said.len() + bytes.len() > limit::ENVIRONMENT => {
                return Err(ApiError::new(
                    Kind::Conflict,
                    "the variables are too many to be told",
                ));
            }
            Output::Stdout(bytes) => said.extend_from_slice(&bytes),
            Output::Ended(status) if status.code == Some(0) => {
                let said = String::from_utf8_lossy(&said);
                let pairs = said.split('\0').filter_map(|pair| pair.split_once('='));
                return Ok(pairs
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect());
            }
            Output::Ended(_) => return Err(ApiError::new(Kind::Conflict, "`env` failed in the sandbox")),
            Output::Stderr(_) | Output::Terminal(_) | Output::Lost(_) => {}
        }
    }
    Err(ApiError::new(Kind::Gone, "the sandbox ended"))
}
