//! The API's description in OpenAPI 3.1, made of the table of methods and of the types they take and
//! give, so that it says what the server does.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Error};
use super::method::{Entry, METHODS};

/// Where the document keeps schemas.
const SCHEMAS: &str = "/components/schemas";

/// The document.
pub(super) fn document() -> Value {
    // OpenAPI 3.1 schemas are JSON Schema 2020-12.
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    let mut generator = SchemaGenerator::new(settings);
    let error = generator.subschema_for::<Error>().to_value();
    let mut paths = Map::new();
    for entry in METHODS {
        let operation = operation(entry, &mut generator, &error);
        paths.insert(format!("/api/{}", entry.name), json!({ "post": operation }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "throng server API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What an application's own servers ask throng. Every answer to a call has \
                status 200, unless the call's header `X-Centrifugo-Error-Mode: transport` or the \
                option `http_api.error_mode` asks for a status that tells the error.",
        },
        "paths": paths,
        "security": [{ "header": [] }, { "authorization": [] }, { "query": [] }],
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "header": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
                "authorization": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "`apikey KEY`",
                },
                "query": { "type": "apiKey", "in": "query", "name": "api_key" },
            },
        },
    })
}

fn operation(entry: &Entry, generator: &mut SchemaGenerator, error: &Value) -> Value {
    let (request, result) = (entry.describe)(generator);
    let failure = json!({ "type": "object", "properties": { "error": error }, "required": ["error"] });
    let success = match entry.answer {
        Answer::Wrapped => {
            json!({ "type": "object", "properties": { "result": result }, "required": ["result"] })
        }
        Answer::Bare => result.to_value(),
    };
    let mut responses = Map::new();
    let mut respond = |status: &str, description: &str, schema: Option<Value>| {
        let mut response = json!({ "description": description });
        if let Some(schema) = schema {
            response["content"] = json!({ "application/json": { "schema": schema } });
        }
        responses.insert(status.to_owned(), response);
    };
    respond("200", "What came of the call.", Some(json!({ "oneOf": [success, failure] })));
    respond("400", "The body is not JSON; in error mode `transport` also errors 106, 107 and 108.", None);
    respond("401", "No key, or not the server's.", None);
    respond("413", "The body is too long.", None);
    let by_status = [
        ("404", "Errors 102 and 104 in error mode `transport`."),
        ("409", "Error 113 in error mode `transport`."),
        ("416", "Error 112 in error mode `transport`."),
        ("429", "Error 111 in error mode `transport`."),
        ("500", "Error 100 in error mode `transport`."),
    ];
    for (status, description) in by_status {
        respond(status, description, Some(error.clone()));
    }
    json!({
        "operationId": entry.name,
        "summary": entry.summary,
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": request, "example": (entry.example)() } },
        },
        "responses": responses,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_described_once() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.len(), METHODS.len());
        for entry in METHODS {
            let operation = &paths[&format!("/api/{}", entry.name)]["post"];
            assert!(operation["summary"].as_str().unwrap().ends_with('.'), "{operation}");
        }
    }
}
