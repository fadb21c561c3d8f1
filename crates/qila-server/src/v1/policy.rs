//! Policies: the built-in ones, and what is wrong with others.
use crate::body::{At, Body};
use crate::gate::Caller;
use crate::problem::Problem;
use axum::Json;
use qila_api::{ApiError, Kind};
use qila_policy::{Constitution, NoFiles, Permit, explain, parse, preset};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A policy that is to be looked at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckBody {
    /// Its YAML.
    policy: String,
}

/// One thing that is wrong with a policy.
#[derive(Serialize, ToSchema)]
pub(crate) struct Wrong {
    /// The file, or the built-in policy that it extends.
    file: String,
    /// Line, from 1; 0 for the policy as a whole.
    line: u32,
    /// Column in characters, from 1; 0 for the policy as a whole.
    column: u32,
    /// The clause, such as `network.allow[2].ports[0]`; empty for the whole file.
    clause: String,
    /// What is wrong.
    problem: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// All of it with the line of the file, for a person.
    text: String,
}

/// What a policy means, or what is wrong with it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Checked {
    /// Whether a sandbox may be launched under it, as far as the policy itself says.
    ok: bool,
    /// All that is wrong, at most twenty.
    problems: Vec<Wrong>,
    /// What it means, in sentences; empty if anything is wrong.
    means: Vec<String>,
}

/// Say what is wrong with a policy, and where; or what it means.
#[utoipa::path(post, path = "/v1/policies/check", tag = "policies", request_body = CheckBody,
    responses((status = 200, body = Checked), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn check(_: Caller, Body { value, .. }: Body<CheckBody>) -> Result<Json<Checked>, Problem> {
    // It compiles what conditions say, which takes a while: not on a thread that others wait for.
    let checked = tokio::task::spawn_blocking(move || look(&value.policy)).await;
    checked
        .map(Json)
        .map_err(|_| ApiError::new(Kind::Internal, "the policy could not be looked at").into())
}

fn look(text: &str) -> Checked {
    let refused = |problems| Checked {
        ok: false,
        problems,
        means: Vec::new(),
    };
    let policy = match parse("policy.yaml", text, &mut NoFiles) {
        Ok(policy) => policy,
        Err(error) => return refused(error.diagnostics().iter().map(wrong).collect()),
    };
    let means = explain::sentences(&policy).into_iter().map(|s| s.text).collect();
    match Permit::grant(policy, &Constitution::default()) {
        Ok(_) => Checked {
            ok: true,
            problems: Vec::new(),
            means,
        },
        Err(error) => refused(vec![Wrong {
            file: "policy.yaml".to_owned(),
            line: 0,
            column: 0,
            clause: String::new(),
            problem: error.to_string(),
            help: None,
            text: error.to_string(),
        }]),
    }
}

fn wrong(d: &qila_policy::Diagnostic) -> Wrong {
    Wrong {
        file: d.file.clone(),
        line: d.line,
        column: d.column,
        clause: d.clause.clone(),
        problem: d.problem.to_string(),
        help: d.help.clone(),
        text: d.to_string(),
    }
}

/// A built-in policy.
#[derive(Serialize, ToSchema)]
pub(crate) struct Preset {
    /// Its name.
    name: &'static str,
    /// Who it is for.
    summary: &'static str,
    /// Its YAML; only where one is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'static str>,
}

/// List the built-in policies.
#[utoipa::path(get, path = "/v1/policies", tag = "policies",
    responses((status = 200, body = Vec<Preset>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(_: Caller) -> Json<Vec<Preset>> {
    let view = |p: &preset::Preset| Preset {
        name: p.name,
        summary: p.summary,
        policy: None,
    };
    Json(preset::PRESETS.iter().map(view).collect())
}

/// Show a built-in policy.
#[utoipa::path(get, path = "/v1/policies/{policy}", tag = "policies", params(("policy" = String, Path)),
    responses((status = 200, body = Preset), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn show(_: Caller, At(name): At<String>) -> Result<Json<Preset>, Problem> {
    let found = preset::find(&name).ok_or_else(|| Problem::not_found("there is no such built-in policy"))?;
    Ok(Json(Preset {
        name: found.name,
        summary: found.summary,
        policy: Some(found.text),
    }))
}
