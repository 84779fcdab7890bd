//! Tokens as applications make them, and as attackers do.

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

const NOW_UNIX_S: i64 = 1_700_000_000;

fn signed_by(secret: &str, algorithm: Algorithm, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn signed(claims: &Value) -> String {
    signed_by("secret", Algorithm::HS256, claims)
}

fn keys() -> TokenKeys {
    TokenKeys { hmac_secret_key: "secret".to_owned(), ..TokenKeys::default() }
}

fn connection(claims: Value) -> Result<ConnectionClaims, TokenError> {
    Verifier::new(&keys()).connection(&signed(&claims), NOW_UNIX_S)
}

fn subscription(claims: Value) -> Result<SubscriptionClaims, TokenError> {
    Verifier::new(&keys()).subscription(&signed(&claims), NOW_UNIX_S)
}

#[test]
fn a_token_with_nothing_in_it_is_an_anonymous_user_for_ever() {
    let anonymous =
        ConnectionClaims { user: String::new(), expires_at: None, info: None, server_subs: Vec::new() };
    assert_eq!(connection(json!({"iat": 1})), Ok(anonymous.clone()));
    assert_eq!(connection(json!({"sub": "", "exp": null, "channels": [], "subs": {}})), Ok(anonymous));
}

#[test]
fn a_connection_token_carries_user_expiry_info_and_server_side_subscriptions() {
    let claims = connection(json!({
        "sub": "42", "exp": NOW_UNIX_S + 600, "jti": "x", "meta": {"secret": 1},
        "info": {"nick": "ann"}, "channels": ["b", "a", "b"],
    }));
    let channel = |name: &str| (name.to_owned(), SubOptions::default());
    let expected = ConnectionClaims {
        user: "42".to_owned(),
        expires_at: Some(NOW_UNIX_S + 600),
        info: Some(r#"{"nick":"ann"}"#.into()),
        server_subs: vec![channel("a"), channel("b")],
    };
    assert_eq!(claims, Ok(expected));
}

#[test]
fn subs_win_over_channels_and_carry_options() {
    let claims = connection(json!({"channels": ["c"], "subs": {
        "plain": {},
        "full": {
            "info": 1, "data": [2],
            "override": {
                "presence": {"value": true}, "join_leave": {"value": false},
                "force_push_join_leave": {"value": true}, "force_recovery": {"value": true},
            },
        },
    }}));
    let full = SubOptions {
        info: Some("1".into()),
        data: Some("[2]".into()),
        presence: Some(true),
        join_leave: Some(false),
        force_push_join_leave: Some(true),
        force_recovery: Some(true),
        force_positioning: None,
    };
    let expected = vec![("full".to_owned(), full), ("plain".to_owned(), SubOptions::default())];
    assert_eq!(claims.unwrap().server_subs, expected);
}

#[test]
fn every_hmac_is_taken_and_no_other_key_opens() {
    let verifier = Verifier::new(&keys());
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let ours = signed_by("secret", algorithm, &json!({"sub": "42"}));
        assert_eq!(verifier.connection(&ours, NOW_UNIX_S).unwrap().user, "42");
        let theirs = signed_by("other", algorithm, &json!({"sub": "42"}));
        assert_eq!(verifier.connection(&theirs, NOW_UNIX_S), Err(TokenError::Invalid));
    }
}

#[test]
fn an_unsigned_or_foreign_algorithm_is_invalid_whatever_the_signature() {
    // {"alg":"none"}, {"alg":"RS256"}, {"alg":"hs256"} and {"typ":"JWT"}, in base64.
    let headers =
        ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJoczI1NiJ9", "eyJ0eXAiOiJKV1QifQ"];
    let token = signed(&json!({"sub": "42"}));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (_, claims) = message.split_once('.').unwrap();
    for header in headers {
        for signature in ["", signature] {
            let forged = format!("{header}.{claims}.{signature}");
            let verdict = Verifier::new(&keys()).connection(&forged, NOW_UNIX_S);
            assert_eq!(verdict, Err(TokenError::Invalid), "{forged}");
        }
    }
}

#[test]
fn changed_claims_and_broken_tokens_are_invalid() {
    let verifier = Verifier::new(&keys());
    let ours = signed(&json!({"sub": "42"}));
    let admin = signed_by("other", Algorithm::HS256, &json!({"sub": "admin"}));
    let admin_claims = admin.split('.').nth(1).unwrap();
    let [header, _, signature] = ours.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let swapped = format!("{header}.{admin_claims}.{signature}");
    for token in
        ["", ".", "..", "...", "a.b.c", "jwt", &ours[1..], &ours[..ours.len() - 1], &swapped, "é.é.é"]
    {
        assert_eq!(verifier.connection(token, NOW_UNIX_S), Err(TokenError::Invalid), "{token}");
    }
}

#[test]
fn claims_are_not_believed_before_the_signature() {
    let expired = signed_by("other", Algorithm::HS256, &json!({"exp": 1}));
    assert_eq!(Verifier::new(&keys()).connection(&expired, NOW_UNIX_S), Err(TokenError::Invalid));
}

#[test]
fn without_a_secret_every_token_is_invalid() {
    let token = signed(&json!({}));
    for previous in [None, Some(String::new())] {
        let keys = TokenKeys { hmac_previous_secret_key: previous, ..TokenKeys::default() };
        assert_eq!(Verifier::new(&keys).connection(&token, NOW_UNIX_S), Err(TokenError::Invalid));
    }
}

#[test]
fn the_previous_secret_opens_as_well() {
    let rotated = TokenKeys {
        hmac_secret_key: "new".to_owned(),
        hmac_previous_secret_key: Some("secret".to_owned()),
        ..TokenKeys::default()
    };
    let verifier = Verifier::new(&rotated);
    for (secret, verdict) in [("new", Ok("42")), ("secret", Ok("42")), ("older", Err(TokenError::Invalid))] {
        let token = signed_by(secret, Algorithm::HS256, &json!({"sub": "42"}));
        let user = verifier.connection(&token, NOW_UNIX_S).map(|claims| claims.user);
        assert_eq!(user.as_deref().map_err(|&error| error), verdict, "{secret}");
    }
}

#[test]
fn a_token_is_over_at_exp_and_starts_at_nbf() {
    for (claims, is_valid) in [
        (json!({"exp": NOW_UNIX_S + 1}), true),
        (json!({"exp": NOW_UNIX_S}), false),
        (json!({"exp": NOW_UNIX_S - 1}), false),
        (json!({"exp": 0}), false),
        (json!({"exp": -1}), false),
        (json!({"exp": NOW_UNIX_S as f64 + 1.5}), true),
        (json!({"exp": NOW_UNIX_S as f64 + 0.5}), false),
        (json!({"exp": u64::MAX}), true),
        (json!({"nbf": NOW_UNIX_S}), true),
        (json!({"nbf": NOW_UNIX_S + 1}), false),
        (json!({"nbf": NOW_UNIX_S + 1, "exp": NOW_UNIX_S + 2}), false),
        (json!({"iat": NOW_UNIX_S + 1}), true),
    ] {
        let expected = if is_valid { Ok(()) } else { Err(TokenError::Expired) };
        assert_eq!(connection(claims.clone()).map(|_| ()), expected, "{claims}");
        let mut claims = claims;
        claims["channel"] = "c".into();
        assert_eq!(subscription(claims.clone()).map(|_| ()), expected, "{claims}");
    }
}

#[test]
fn expire_at_replaces_exp_for_the_connection_and_zero_is_never() {
    for (claims, expires_at) in [
        (json!({"exp": NOW_UNIX_S + 5}), Some(NOW_UNIX_S + 5)),
        (json!({"exp": NOW_UNIX_S + 5, "expire_at": 0}), None),
        (json!({"exp": NOW_UNIX_S + 5, "expire_at": null}), Some(NOW_UNIX_S + 5)),
        (json!({"exp": NOW_UNIX_S + 5, "expire_at": NOW_UNIX_S + 9}), Some(NOW_UNIX_S + 9)),
        (json!({"expire_at": NOW_UNIX_S + 9}), Some(NOW_UNIX_S + 9)),
        (json!({}), None),
    ] {
        assert_eq!(connection(claims.clone()).unwrap().expires_at, expires_at, "{claims}");
    }
    let expired = json!({"exp": NOW_UNIX_S, "expire_at": NOW_UNIX_S + 9});
    assert_eq!(connection(expired), Err(TokenError::Expired));
}

#[test]
fn claims_of_the_wrong_type_make_a_token_invalid() {
    for claims in [
        json!({"sub": 42}),
        json!({"exp": "soon"}),
        json!({"expire_at": {}}),
        json!({"channels": "c"}),
        json!({"channels": [1]}),
        json!({"subs": ["c"]}),
        json!({"subs": {"c": {"override": {"presence": true}}}}),
        json!({"b64info": 1}),
        json!(["42"]),
        json!("42"),
    ] {
        assert_eq!(connection(claims.clone()), Err(TokenError::Invalid), "{claims}");
    }
}

#[test]
fn a_subscription_token_does_not_connect() {
    assert_eq!(connection(json!({"sub": "42", "channel": "c"})), Err(TokenError::Invalid));
    assert_eq!(connection(json!({"sub": "42", "channel": ""})), Err(TokenError::Invalid));
    assert_eq!(connection(json!({"channel": "c", "exp": 1})), Err(TokenError::Invalid));
}

#[test]
fn a_connection_token_does_not_subscribe() {
    assert_eq!(subscription(json!({"sub": "42"})), Err(TokenError::Invalid));
    assert_eq!(subscription(json!({"sub": "42", "channel": ""})), Err(TokenError::Invalid));
    assert_eq!(subscription(json!({"sub": "42", "channel": 7})), Err(TokenError::Invalid));
}

#[test]
fn a_subscription_token_carries_whom_it_is_for_and_what_it_gives() {
    let claims = subscription(json!({
        "sub": "42", "channel": "$room:7", "client": "5e3f", "exp": NOW_UNIX_S + 5, "expire_at": NOW_UNIX_S + 9,
        "info": {"role": "mod"}, "b64data": "eyJhIjogMX0=", "override": {"join_leave": {"value": true}},
    }));
    let options = SubOptions {
        info: Some(r#"{"role":"mod"}"#.into()),
        data: Some(r#"{"a": 1}"#.into()),
        join_leave: Some(true),
        ..SubOptions::default()
    };
    let expected = SubscriptionClaims {
        user: "42".to_owned(),
        channel: "$room:7".to_owned(),
        client: Some("5e3f".to_owned()),
        expires_at: Some(NOW_UNIX_S + 9),
        options,
    };
    assert_eq!(claims, Ok(expected));
    let anonymous = subscription(json!({"iat": 1, "channel": "test1", "client": ""})).unwrap();
    assert_eq!((&*anonymous.user, &*anonymous.channel, anonymous.client), ("", "test1", None));
}

#[test]
fn info_in_base64_wins_and_must_be_json() {
    let info = |claims: Value| connection(claims).map(|claims| claims.info);
    assert_eq!(info(json!({"b64info": "eyJhIjogMX0=", "info": 1})), Ok(Some(r#"{"a": 1}"#.into())));
    assert_eq!(info(json!({"b64info": "", "info": 1})), Ok(Some("1".into())));
    assert_eq!(info(json!({"info": null})), Ok(None));
    // Not base64; not padded; `{"a"`; `1 2`; a lone 0xff in quotes.
    for broken in ["*", "eyJhIjogMX0", "eyJhIg==", "MSAy", "Iv8i"] {
        assert_eq!(info(json!({"b64info": broken})), Err(TokenError::Invalid), "{broken}");
        let sub = json!({"subs": {"c": {"b64data": broken}}});
        assert_eq!(connection(sub), Err(TokenError::Invalid), "{broken}");
    }
}

#[test]
fn audience_and_issuer_matter_only_if_configured() {
    let strict = TokenKeys { audience: Some("us".to_owned()), issuer: Some("app".to_owned()), ..keys() };
    let strict = Verifier::new(&strict);
    let lax = Verifier::new(&keys());
    for (claims, is_valid) in [
        (json!({"aud": "us", "iss": "app"}), true),
        (json!({"aud": ["them", "us"], "iss": "app"}), true),
        (json!({"aud": "them", "iss": "app"}), false),
        (json!({"aud": ["them"], "iss": "app"}), false),
        (json!({"aud": [], "iss": "app"}), false),
        (json!({"iss": "app"}), false),
        (json!({"aud": "us", "iss": "other"}), false),
        (json!({"aud": "us"}), false),
        (json!({"aud": "them", "iss": "app", "exp": 1}), false),
    ] {
        let token = signed(&claims);
        let expected = if is_valid { Ok(()) } else { Err(TokenError::Invalid) };
        assert_eq!(strict.connection(&token, NOW_UNIX_S).map(|_| ()), expected, "{claims}");
        if claims.get("exp").is_none() {
            assert!(lax.connection(&token, NOW_UNIX_S).is_ok(), "{claims}");
        }
    }
}

#[test]
fn info_may_be_nested_as_deep_as_a_message_allows() {
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let info: Box<RawValue> = serde_json::from_str(&deep).unwrap();
    let claims = BTreeMap::from([("info", info)]);
    let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(b"secret")).unwrap();
    let claims = Verifier::new(&keys()).connection(&token, NOW_UNIX_S).unwrap();
    assert_eq!(claims.info.as_deref(), Some(&*deep));
}
