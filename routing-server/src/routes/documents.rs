//! What this API is, for programs and for people. Written by hand and held to the routes by a
//! test: requests are read more leniently than any derived schema would say.

use actix_web::{HttpResponse, http::header};
use std::future::ready;

/// The OpenAPI document.
const OPENAPI: &str = include_str!("../../api/openapi.json");
/// One page that shows it, with nothing from elsewhere.
const PAGE: &str = include_str!("../../api/docs.html");
/// The page runs its own script and asks this server alone.
const POLICY: &str =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'";

/// For programs.
pub async fn openapi() -> HttpResponse {
    ready(HttpResponse::Ok().content_type("application/json").body(OPENAPI)).await
}

/// For people.
pub async fn page() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.content_type("text/html; charset=utf-8");
    response.insert_header((header::CONTENT_SECURITY_POLICY, POLICY));
    ready(response.body(PAGE)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_and_the_routes_say_the_same() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let documented: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().keys();
                methods.map(move |method| (path.clone(), method.to_ascii_uppercase()))
            })
            .collect();
        let served = super::super::table().into_iter().flat_map(|(path, routes)| {
            let path = path.replace(":.*", "");
            routes.into_iter().map(move |(method, _)| (path.clone(), method.to_string()))
        });
        assert_eq!(documented, served.collect());
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            match value {
                Value::Object(fields) => {
                    if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
                        let place = target.strip_prefix('#').unwrap();
                        assert!(document.pointer(place).is_some(), "{target}");
                    }
                    open.extend(fields.values());
                }
                Value::Array(values) => open.extend(values),
                _ => {}
            }
        }
    }
}
