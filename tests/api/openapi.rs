//! The API's description: every operation of it is tried, and what is answered must be as described.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::caller::{post, request, server};
use crate::common::Server;

/// Methods of PROTOCOL.md 21 that throng has.
const METHODS: [&str; 14] = [
    "batch",
    "broadcast",
    "channels",
    "disconnect",
    "history",
    "history_remove",
    "info",
    "presence",
    "presence_stats",
    "publish",
    "refresh",
    "rpc",
    "subscribe",
    "unsubscribe",
];

fn document(server: &Server) -> Value {
    let answer = request(server, "GET /api/openapi.json", &[], "");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    answer.json()
}

/// Checks `value` against a schema of the document, whose references go into the document.
#[track_caller]
fn assert_valid(document: &Value, schema: &Value, value: &Value, what: &str) {
    let schema = json!({ "allOf": [schema], "components": document["components"] });
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert_eq!(errors, [""; 0], "{what}: {value}");
}

#[test]
fn the_document_describes_every_method_and_no_other() {
    let server = server(1);
    let document = document(&server);
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<_> = paths.keys().map(|path| path.strip_prefix("/api/").unwrap()).collect();
    assert_eq!(described, METHODS.into_iter().collect());
    for method in METHODS {
        assert_ne!(post(&server, method, "{}").status, 404, "{method} is described and not there");
    }
}

#[test]
fn every_operation_takes_its_example_and_answers_as_it_is_described() {
    let server = server(2);
    let mut client = server.client_as("42");
    client.subscribe("room");
    let document = document(&server);
    for method in METHODS {
        let operation = &document["paths"][format!("/api/{method}")]["post"];
        let content = &operation["requestBody"]["content"]["application/json"];
        let example = &content["example"];
        assert_valid(&document, &content["schema"], example, method);
        let answer = post(&server, method, &example.to_string());
        assert_eq!(answer.status, 200);
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert_valid(&document, schema, &answer.json(), method);
        let is_error = answer.json().get("error").is_some();
        assert_eq!(is_error, method == "rpc", "{method}: {}", answer.body);
    }
}

#[test]
fn errors_are_described_too_and_wrong_answers_would_be_noticed() {
    let server = server(1);
    let document = document(&server);
    for method in METHODS {
        let operation = &document["paths"][format!("/api/{method}")]["post"];
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let answer = post(&server, method, "[]").json();
        assert_eq!(answer["error"]["code"], 107, "{method}");
        assert_valid(&document, schema, &answer, method);
        let schema = json!({ "allOf": [schema], "components": document["components"] });
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        for wrong in [json!([]), json!({ "error": { "code": "107" } }), json!({ "result": 1 })] {
            assert!(!validator.is_valid(&wrong), "{method}: {wrong}");
        }
    }
}
