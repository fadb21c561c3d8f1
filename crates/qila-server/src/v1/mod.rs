//! The native API.
mod event;
mod exec;
mod file;
mod key;
mod killer;
mod life;
mod policy;
mod port;
mod process;
mod sandbox;
mod snapshot;
mod socket;
mod stream;
mod template;
mod tenant;
mod text;
mod transfer;
mod usage;
mod view;

use crate::app::App;
use crate::problem::Problem;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use std::time::Duration;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// All routes, with their description. `request` bounds the time of those that are neither streams nor programs.
pub(crate) fn routes(request: Duration) -> OpenApiRouter<App> {
    let bounded = from_fn(move |asked: Request, next: Next| async move {
        match tokio::time::timeout(request, next.run(asked)).await {
            Ok(response) => response,
            Err(_) => too_long(),
        }
    });
    let quick = OpenApiRouter::new()
        .routes(routes!(sandbox::create, sandbox::list))
        .routes(routes!(sandbox::get, sandbox::kill))
        .routes(routes!(life::set_timeout))
        .routes(routes!(life::pause))
        .routes(routes!(life::resume))
        .routes(routes!(life::fork))
        .routes(routes!(life::roll_back))
        .routes(routes!(snapshot::take))
        .routes(routes!(snapshot::list))
        .routes(routes!(snapshot::remove))
        .routes(routes!(process::list))
        .routes(routes!(process::signal))
        .routes(routes!(process::input))
        .routes(routes!(process::resize))
        .routes(routes!(file::stat))
        .routes(routes!(file::list))
        .routes(routes!(file::make_dir))
        .routes(routes!(file::rename))
        .routes(routes!(port::describe))
        .routes(routes!(usage::metrics))
        .routes(routes!(usage::logs))
        .routes(routes!(template::list))
        .routes(routes!(template::put, template::remove))
        .routes(routes!(policy::check))
        .routes(routes!(policy::list))
        .routes(routes!(policy::show))
        .routes(routes!(key::create, key::list))
        .routes(routes!(key::revoke))
        .routes(routes!(tenant::list))
        .routes(routes!(tenant::put, tenant::remove))
        .layer(bounded);
    OpenApiRouter::with_openapi(crate::openapi::Frame::openapi())
        .merge(quick)
        .routes(routes!(exec::exec))
        .routes(routes!(stream::exec_stream))
        .routes(routes!(socket::exec_socket))
        .routes(routes!(stream::attach))
        .routes(routes!(transfer::read, transfer::write, file::remove))
        .routes(routes!(event::watch))
        .routes(routes!(event::events))
}

fn too_long() -> Response {
    Problem::timeout("the request took longer than it may").into_response()
}
