//! Mints access tokens: RFC 9068 claims, the session's own, and the app's.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::clock::Timestamp;
use crate::secret::AccessToken;
use crate::verify::{
    Keys, MAX_TOKEN, Name, Names, REGISTERED, TokenProfile, look_like_another_kind, parse_own,
};

/// The requirements on claims, which the engine reads from tokens and writes into tokens.
///
/// Every type that serde writes as a JSON object: a struct, a map, an enum whose variants have
/// members (`{"Admin": {..}}`, tagged or untagged), and `()` for no claims. A variant without
/// members is a string, and [`Session::sign_in`](crate::Session::sign_in) refuses it.
///
/// Implemented for every type with these bounds. An app has nothing to implement.
pub trait ClaimSet: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> ClaimSet for C {}

/// The claims of one session that go into its access tokens.
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionClaims {
    /// The user: the claim `sub`.
    pub subject: String,
    /// The session's id: the claim `sid`.
    pub sid: String,
    /// The app's own claims.
    pub claims: ClaimsObject,
    /// When the user signed in: the claim `auth_time`.
    pub auth_time: Timestamp,
    /// The session's absolute end: the claim `session_exp`. No token outlives it.
    pub session_expires: Timestamp,
    /// The generation that a client confirms by presenting the token: the claim `gen`. None in a
    /// token for another service.
    pub generation: Option<u64>,
    /// Whether the session's cookies outlive the browser: the claim `session_persistent`, which is
    /// written only if they don't.
    pub persistent: bool,
}

/// An app's claims as the text of a JSON object without registered names.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimsObject(String);

/// Why claims can't be put into a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClaimsProblem {
    NotSerializable(String),
    /// The JSON type that they are instead.
    NotAnObject(&'static str),
    Registered(String),
    /// The claims serialize, and can't be read back.
    Unreadable(String),
    /// The claims hold members by which other kinds of tokens are recognized if `typ` does not tell
    /// them apart.
    OfAnotherKind,
}

impl fmt::Display for ClaimsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSerializable(reason) => write!(f, "the claims can't be serialized: {reason}"),
            Self::NotAnObject(found) => write!(
                f,
                "the claims are {found}, not a JSON object; make them a struct, a map or `()`"
            ),
            Self::Unreadable(reason) => write!(
                f,
                "the claims serialize to an object that can't be deserialized: {reason}; make \
                 `Serialize` and `Deserialize` match each other"
            ),
            Self::OfAnotherKind => f.write_str(
                "the claims hold `nonce`, `at_hash`, `c_hash`, `s_hash` or `events`, which \
                 `TokenProfile::Jwt` refuses as an ID token's or a logout token's; rename that \
                 member, or use `TokenProfile::AtJwt`",
            ),
            Self::Registered(name) => write!(
                f,
                "the claims hold {name:?}, which everfresh writes itself; rename that member \
                 (reserved: {})",
                REGISTERED.join(", ")
            ),
        }
    }
}

impl SessionClaims {
    /// Makes the claims of a session without a generation, whose cookies outlive the browser.
    pub fn new(
        subject: impl Into<String>,
        sid: impl Into<String>,
        claims: ClaimsObject,
        auth_time: Timestamp,
        session_expires: Timestamp,
    ) -> Self {
        let (subject, sid) = (subject.into(), sid.into());
        let (generation, persistent) = (None, true);
        Self { subject, sid, claims, auth_time, session_expires, generation, persistent }
    }
}

impl ClaimsObject {
    /// Parses the text of a JSON object, as [`as_str`](Self::as_str) returned it. Returns `None` if
    /// it is no object, or holds a registered name.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }

    /// Converts claims that come from the app. The error tells the app if they could not be read
    /// back.
    pub(crate) fn of_app<C: Serialize + DeserializeOwned>(
        claims: &C,
    ) -> Result<Self, ClaimsProblem> {
        let object = Self::new(claims)?;
        match parse_own::<C>(object.as_str()) {
            Ok(_) => Ok(object),
            Err(error) => Err(ClaimsProblem::Unreadable(error.to_string())),
        }
    }

    /// Returns the claims unchanged, unless tokens of this profile must not have them.
    pub(crate) fn fit_for(self, profile: TokenProfile) -> Result<Self, ClaimsProblem> {
        match profile == TokenProfile::Jwt && look_like_another_kind(&self.0) {
            true => Err(ClaimsProblem::OfAnotherKind),
            false => Ok(self),
        }
    }

    pub(crate) fn new(claims: &impl Serialize) -> Result<Self, ClaimsProblem> {
        let broken = |error: serde_json::Error| ClaimsProblem::NotSerializable(error.to_string());
        match serde_json::to_string(claims).map_err(broken)? {
            null if null == "null" => Ok(Self("{}".into())),
            text => Self::parse(&text),
        }
    }

    /// Parses the text of an object, as it was kept.
    pub(crate) fn parse(text: &str) -> Result<Self, ClaimsProblem> {
        match text.bytes().next() {
            Some(b'{') => {}
            Some(b'"') => {
                return Err(ClaimsProblem::NotAnObject(
                    "a string, which is how serde writes a variant without members",
                ));
            }
            Some(b'[') => return Err(ClaimsProblem::NotAnObject("an array")),
            _ => return Err(ClaimsProblem::NotAnObject("a number or a boolean")),
        }
        match serde_json::from_str::<TakenName>(text) {
            Ok(TakenName(None)) => Ok(Self(text.to_owned())),
            Ok(TakenName(Some(name))) => Err(ClaimsProblem::Registered(name)),
            Err(error) => Err(ClaimsProblem::NotSerializable(error.to_string())),
        }
    }

    /// Returns the object's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("sid", &self.sid)
            .field("generation", &self.generation)
            .field("session_expires", &self.session_expires)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClaimsObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimsObject({} bytes)", self.0.len())
    }
}

/// The first registered name among an object's members.
struct TakenName(Option<String>);

impl<'de> Deserialize<'de> for TakenName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TakenVisitor;
        impl<'de> Visitor<'de> for TakenVisitor {
            type Value = TakenName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TakenName, A::Error> {
                let (mut taken, mut names) = (None, Names::of_claims());
                while let Some(Name(name)) = map.next_key()? {
                    map.next_value::<IgnoredAny>()?;
                    if REGISTERED.contains(&&*name) {
                        taken = Some(name.clone().into_owned());
                    }
                    names.insert(name)?;
                }
                Ok(TakenName(taken))
            }
        }
        deserializer.deserialize_map(TakenVisitor)
    }
}

/// The settings that all tokens of an engine share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MintRules<'s> {
    pub(crate) issuer: &'s str,
    pub(crate) audience: &'s str,
    pub(crate) client_id: Option<&'s str>,
    pub(crate) profile: TokenProfile,
}

/// Why a token could not be minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MintProblem {
    /// The key set has no signing key, or its signing key was removed.
    NoSigningKey,
    /// The system returned no random bytes, or signing failed.
    System,
    /// The session is over.
    Over,
    /// The token is larger than the 8 KiB that everfresh accepts.
    TooLarge,
}

/// The audience of a token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum For<'a> {
    /// This engine, which refreshes the token.
    Us,
    /// Another service. The token lacks the session's claims, so that no engine takes it for a
    /// session's token or refreshes it, whatever keys and audience the engine has.
    Another(&'a str),
}

/// Returns a signed token for `session_claims` that expires `lifetime` after `now`, less up to 5 %, so that
/// tokens minted together don't expire together. It never outlives the session.
pub(crate) fn mint(
    rules: MintRules<'_>,
    keys: &Keys,
    session_claims: &SessionClaims,
    audience: For<'_>,
    lifetime: Duration,
    now: Timestamp,
) -> Result<AccessToken, MintProblem> {
    let id = random_id()?;
    let jitter = lifetime.as_secs() * u64::from(id[0]) / (20 * u64::from(u8::MAX));
    let iat = now.as_secs();
    let exp = (iat + lifetime.as_secs() - jitter).min(session_claims.session_expires.as_secs());
    if exp <= iat {
        return Err(MintProblem::Over);
    }
    let keys = keys.current();
    let key = keys.signing().ok_or(MintProblem::NoSigningKey)?;
    let typ = match rules.profile {
        TokenProfile::AtJwt | TokenProfile::Rfc9068 => "at+jwt",
        TokenProfile::Jwt => "JWT",
    };
    let header = HeaderOut { typ, alg: key.algorithm(), kid: key.kid() };
    let payload = PayloadOut { rules, session_claims, audience, iat, exp, jti: &B64.encode(id) };

    let mut token = encode_part(&header)?;
    token.push('.');
    token.push_str(&encode_payload(&payload, &session_claims.claims)?);
    let signature = key.sign(token.as_bytes()).ok_or(MintProblem::System)?;
    token.push('.');
    B64.encode_string(signature, &mut token);
    if token.len() > MAX_TOKEN {
        return Err(MintProblem::TooLarge);
    }
    Ok(AccessToken::new(token))
}

/// Returns a new session's id: 128 random bits.
pub(crate) fn new_sid() -> Result<String, MintProblem> {
    random_id().map(|id| B64.encode(id))
}

pub(crate) fn random_id() -> Result<[u8; 16], MintProblem> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| MintProblem::System)?;
    Ok(id)
}

fn encode_part(part: &impl Serialize) -> Result<String, MintProblem> {
    serde_json::to_vec(part).map(|json| B64.encode(json)).map_err(|_| MintProblem::System)
}

/// Encodes the registered members, followed by the members of the app's object as they are.
fn encode_payload(registered: &PayloadOut<'_>, own: &ClaimsObject) -> Result<String, MintProblem> {
    let mut json = serde_json::to_string(registered).map_err(|_| MintProblem::System)?;
    let members = &own.0[1..];
    if members.trim_start() != "}" {
        json.pop();
        json.push(',');
        json.push_str(members);
    }
    Ok(B64.encode(json))
}

struct HeaderOut<'t> {
    typ: &'static str,
    alg: crate::verify::Algorithm,
    kid: Option<&'t str>,
}

impl Serialize for HeaderOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("typ", self.typ)?;
        map.serialize_entry("alg", &self.alg)?;
        if let Some(kid) = self.kid {
            map.serialize_entry("kid", kid)?;
        }
        map.end()
    }
}

struct PayloadOut<'t> {
    rules: MintRules<'t>,
    session_claims: &'t SessionClaims,
    audience: For<'t>,
    iat: u64,
    exp: u64,
    jti: &'t str,
}

impl Serialize for PayloadOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { rules, session_claims, .. } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iss", rules.issuer)?;
        match self.audience {
            For::Us => map.serialize_entry("aud", rules.audience)?,
            For::Another(audience) => map.serialize_entry("aud", audience)?,
        }
        map.serialize_entry("sub", &session_claims.subject)?;
        if let Some(client_id) = rules.client_id {
            map.serialize_entry("client_id", client_id)?;
        }
        map.serialize_entry("iat", &self.iat)?;
        map.serialize_entry("exp", &self.exp)?;
        map.serialize_entry("jti", self.jti)?;
        map.serialize_entry("auth_time", &session_claims.auth_time.as_secs())?;
        if let For::Us = self.audience {
            map.serialize_entry("sid", &session_claims.sid)?;
            if let Some(generation) = session_claims.generation {
                map.serialize_entry("gen", &generation)?;
            }
            map.serialize_entry("session_exp", &session_claims.session_expires.as_secs())?;
            if !session_claims.persistent {
                map.serialize_entry("session_persistent", &false)?;
            }
        }
        map.end()
    }
}
