//! The description of the native API (OpenAPI 3.1).
use axum::response::{IntoResponse, Response};
use http::header;
use std::sync::OnceLock;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

/// Title, version and ways to show a key.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Qila",
        description = "Sandboxes on one machine. What belongs to another tenant is not found.",
    ),
    modifiers(&Keys),
    security(("bearer" = []), ("key" = [])),
)]
pub(crate) struct Frame;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let header = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
        components.add_security_scheme("key", SecurityScheme::ApiKey(header));
    }
}

/// Names each operation after its group and what it does: `sandboxes_list`.
fn name_operations(document: &mut utoipa::openapi::OpenApi) {
    for item in document.paths.paths.values_mut() {
        let all = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in all.into_iter().flatten() {
            let group = operation.tags.as_ref().and_then(|tags| tags.first());
            if let (Some(group), Some(name)) = (group, &operation.operation_id) {
                operation.operation_id = Some(format!("{group}_{name}"));
            }
        }
    }
}

/// The description of the native API, as JSON.
pub fn document() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let (_, mut document) = crate::v1::routes(std::time::Duration::ZERO).split_for_parts();
        name_operations(&mut document);
        let mut text = document.to_pretty_json().unwrap_or_default();
        text.push('\n');
        text
    })
}

/// `GET /openapi.json`.
pub(crate) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document()).into_response()
}
