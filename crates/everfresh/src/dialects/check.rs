//! The rules of a dialect that its types do not express.

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Uri};

use super::dialect::{Dialect, List, Text};
use super::request::{Body, Fixed, FixedValue, Method, Place, RequestFormat, TokenKind};
use super::response::{Condition, Outcome, Rule, Source, Statuses, Test};
use super::serving::{ErrorResponse, Errors, ServedValue, Serving};
use crate::cookie::is_token_byte;
use crate::error::DialectError;

/// The most places of a token, and the most paths of an endpoint.
const MOST: usize = 4;

/// Header fields that a file can't set.
pub(super) const SET_BY_HTTP: [&str; 3] = ["content-length", "host", "transfer-encoding"];

impl Dialect {
    /// Checks the rules that the types do not express.
    ///
    /// # Errors
    ///
    /// Returns an error for the first rule that the dialect breaks. The error names the field, what
    /// was found and what is wanted.
    pub fn check(&self) -> Result<(), DialectError> {
        require("name", &self.name, !self.name.is_empty(), "a name")?;
        for path in &*self.paths {
            let wanted = "an absolute path without query or parameters";
            require("paths", path, is_path(path), wanted)?;
        }
        self.request.check("request")?;
        if let Some(sign_out) = &self.sign_out {
            sign_out.check("sign_out")?;
        }
        self.check_response()?;
        for (at, rule) in self.rules.iter().enumerate() {
            rule.check(&format!("rules[{at}]"))?;
        }
        match &self.serving {
            Some(serving) => self.check_serving(serving),
            None => Ok(()),
        }
    }

    fn check_response(&self) -> Result<(), DialectError> {
        let response = &self.response;
        if response.access_token.is_empty() {
            let problem = "found no source; wanted is where responses have the access token";
            return Err(DialectError::new("response.access_token", problem));
        }
        for (field, sources) in [
            ("response.access_token", &response.access_token),
            ("response.refresh_token", &response.refresh_token),
            ("response.id_token", &response.id_token),
        ] {
            sources.iter().try_for_each(|source| source.check(field))?;
        }
        for life in &*response.expires_in {
            require("response.expires_in", &life.member, is_member(&life.member), MEMBER)?;
        }
        for (field, members) in
            [("response.expires_at", &response.expires_at), ("response.keep", &response.keep)]
        {
            members.iter().try_for_each(|path| require(field, path, is_member(path), MEMBER))?;
        }
        if self.request.token != TokenKind::Refresh && !response.refresh_token.is_empty() {
            let problem = "found a source, and the request presents the access token alone";
            return Err(DialectError::new("response.refresh_token", problem));
        }
        Ok(())
    }

    fn check_serving(&self, serving: &Serving) -> Result<(), DialectError> {
        let Serving { rotates, members, access_cookie, refresh_cookie, errors } = serving;
        count("paths", self.paths.len())?;
        let request = &self.request;
        if request.method == Method::Get {
            let problem = "found GET, which other sites can cause; wanted is POST, PUT or PATCH";
            return Err(DialectError::new("request.method", problem));
        }
        if request.places.iter().any(|place| matches!(place, Place::Query(_))) {
            let problem = "found `query`; a server reads no token from a URL, which servers log";
            return Err(DialectError::new("request.places", problem));
        }
        if request.access_token.is_some() {
            let problem = "found a place; a server reads one token, at `places`";
            return Err(DialectError::new("request.access_token", problem));
        }
        for (at, fixed) in request.members.iter().enumerate() {
            if let FixedValue::Setting(_) | FixedValue::Kept(_) = fixed.value {
                let problem = "found a value of a client; a server compares with a fixed one";
                return Err(DialectError::new(format!("request.members[{at}].value"), problem));
            }
        }
        let by_access = request.token != TokenKind::Refresh;
        if by_access && (*rotates || refresh_cookie.is_some()) {
            let problem = "an access token alone never yields a refresh token; wanted is false";
            return Err(DialectError::new("serving.rotates", problem));
        }
        for (at, member) in members.iter().enumerate() {
            let field = format!("serving.members[{at}].name");
            require(&field, &member.name, is_member(&member.name), MEMBER)?;
            if by_access && member.value == ServedValue::RefreshToken {
                let problem = "found the refresh token; an access token alone never yields one";
                return Err(DialectError::new(format!("serving.members[{at}].value"), problem));
            }
        }
        for (field, cookie) in
            [("serving.access_cookie", access_cookie), ("serving.refresh_cookie", refresh_cookie)]
        {
            if let Some(name) = cookie {
                require(field, name, is_name(name), "a cookie's name")?;
            }
        }
        errors.check()?;
        if request.client.is_some() && errors.client.is_none() {
            let problem = "is missing; the dialect authenticates clients, so it needs the reply to a \
                           client that fails to authenticate";
            return Err(DialectError::new("serving.errors.client", problem));
        }
        if !request.members.is_empty() && errors.unsupported.is_none() {
            let problem = "is missing; the dialect has fixed members, so it needs the reply to a request \
                           with other values";
            return Err(DialectError::new("serving.errors.unsupported", problem));
        }
        Ok(())
    }
}

impl RequestFormat {
    fn check(&self, at: &str) -> Result<(), DialectError> {
        count(&format!("{at}.places"), self.places.len())?;
        for place in self.places.iter().chain(&self.access_token) {
            place.check(at)?;
        }
        if let Some(place) = &self.access_token {
            let field = format!("{at}.access_token");
            if self.token != TokenKind::Refresh {
                let problem = "found a place, and `token` presents the access token already";
                return Err(DialectError::new(field, problem));
            }
            if self.places.contains(place) {
                let problem = "found the refresh token's place; wanted is another one";
                return Err(DialectError::new(field, problem));
            }
        }
        if self.method == Method::Get && self.has_body() {
            let problem = "found GET, which has no body, and members of a body";
            return Err(DialectError::new(format!("{at}.method"), problem));
        }
        let names = |list: &List<Fixed>, of: &str, good: fn(&str) -> bool, wanted: &str| {
            list.iter().enumerate().try_for_each(|(index, fixed)| {
                let field = format!("{at}.{of}[{index}]");
                require(&format!("{field}.name"), &fixed.name, good(&fixed.name), wanted)?;
                fixed.value.check(&format!("{field}.value"))
            })
        };
        names(&self.members, "members", is_member, MEMBER)?;
        names(&self.query, "query", |name| !name.is_empty(), "a parameter's name")?;
        names(&self.headers, "headers", is_header, "a header field's name")?;
        for (index, Fixed { name, value }) in self.headers.iter().enumerate() {
            let field = format!("{at}.headers[{index}]");
            let free = !SET_BY_HTTP.iter().any(|taken| name.eq_ignore_ascii_case(taken));
            require(&format!("{field}.name"), name, free, "a field that HTTP does not set itself")?;
            if let FixedValue::Text(text) = value {
                let good = HeaderValue::from_str(text).is_ok();
                require(&format!("{field}.value"), text, good, "a header field's value")?;
            }
        }
        self.check_authorization(at)?;
        if let Some(client) = &self.client {
            let field = format!("{at}.client");
            require(&format!("{field}.id"), &client.id, is_member(&client.id), MEMBER)?;
            require(&format!("{field}.secret"), &client.secret, is_member(&client.secret), MEMBER)?;
        }
        if let Some(life) = &self.lifetime {
            let field = format!("{at}.lifetime");
            require(&format!("{field}.member"), &life.member, is_member(&life.member), MEMBER)?;
            let within = life.default.is_none_or(|own| (life.min..=life.max).contains(&own));
            if life.min == 0 || life.min > life.max || !within {
                let problem = format!(
                    "found {} to {}, and {:?} by default; wanted is a range from 1 on that has the \
                     default in it",
                    life.min, life.max, life.default
                );
                return Err(DialectError::new(field, problem));
            }
            if self.body == Body::Form {
                let problem = "found a form; a lifetime is a member of JSON";
                return Err(DialectError::new(field, problem));
            }
        }
        Ok(())
    }
}

impl RequestFormat {
    /// A request has one `Authorization` field with one value (RFC 9110 section 11.6.2).
    fn check_authorization(&self, at: &str) -> Result<(), DialectError> {
        let is_it = |name: &str| name.eq_ignore_ascii_case(AUTHORIZATION.as_str());
        let token = |place: &&Place| match place {
            Place::Authorization(_) => true,
            Place::Header(name) => is_it(name),
            _ => false,
        };
        let tokens = self.places.first().into_iter().chain(&self.access_token).filter(token);
        let fixed = self.headers.iter().filter(|fixed| is_it(&fixed.name));
        match tokens.count() + fixed.count() {
            0 | 1 => Ok(()),
            _ => Err(DialectError::new(at, "found two values for `Authorization`; wanted is one")),
        }
    }
}

impl Place {
    fn check(&self, at: &str) -> Result<(), DialectError> {
        let (kind, name, good, wanted): (_, &Text, _, _) = match self {
            Self::Cookie(name) => ("cookie", name, is_name(name), "a cookie's name"),
            Self::Authorization(scheme) => ("authorization", scheme, is_name(scheme), "a scheme"),
            Self::Header(name) => ("header", name, is_header(name), "a header field's name"),
            Self::Query(name) => ("query", name, !name.is_empty(), "a parameter's name"),
            Self::Body(path) => ("body", path, is_member(path), MEMBER),
        };
        require(&format!("{at}.places.{kind}"), name, good, wanted)
    }
}

impl FixedValue {
    fn check(&self, field: &str) -> Result<(), DialectError> {
        match self {
            Self::Setting(name) | Self::Kept(name) => {
                require(field, name, !name.is_empty(), "a name")
            }
            Self::Text(_) | Self::Integer(_) | Self::Bool(_) => Ok(()),
        }
    }
}

impl Source {
    fn check(&self, field: &str) -> Result<(), DialectError> {
        match self {
            Self::Member(path) => require(field, path, is_member(path), MEMBER),
            Self::Cookie(name) => require(field, name, is_name(name), "a cookie's name"),
            Self::Header(name) => require(field, name, is_header(name), "a header field's name"),
        }
    }
}

impl Rule {
    fn check(&self, at: &str) -> Result<(), DialectError> {
        if self.status.is_empty() {
            let problem = "found no status; wanted is at least one";
            return Err(DialectError::new(format!("{at}.status"), problem));
        }
        for Statuses { from, to } in &*self.status {
            if !(200..=599).contains(from) || !(*from..=599).contains(to) {
                let problem = format!("found {from} to {to}; wanted are 200 to 599");
                return Err(DialectError::new(format!("{at}.status"), problem));
            }
        }
        let any_success = self.status.iter().any(|one| one.from < 300);
        if any_success && self.when.is_empty() && self.outcome == Outcome::Rejected {
            let problem = "is missing; a rule that ends sessions by 2xx has to say by which body";
            return Err(DialectError::new(format!("{at}.when"), problem));
        }
        for (index, condition) in self.when.iter().enumerate() {
            condition.check(&format!("{at}.when[{index}]"))?;
        }
        Ok(())
    }
}

impl Condition {
    fn check(&self, at: &str) -> Result<(), DialectError> {
        if self.is.is_none() && self.is_not.is_none() {
            return Err(DialectError::new(at, "found no test; wanted is `is` or `is_not`"));
        }
        for test in self.is.iter().chain(&self.is_not) {
            if let Test::OneOf(texts) | Test::StartsWith(texts) | Test::Contains(texts) = test
                && texts.is_empty()
            {
                return Err(DialectError::new(at, "found no text to compare with; wanted is one"));
            }
        }
        Ok(())
    }
}

impl Errors {
    fn check(&self) -> Result<(), DialectError> {
        let Self { missing, invalid, expired, user_gone, malformed, client, unsupported, scope } =
            self;
        let always = [
            ("missing", missing),
            ("invalid", invalid),
            ("expired", expired),
            ("user_gone", user_gone),
            ("malformed", malformed),
        ];
        let sometimes = [("client", client), ("unsupported", unsupported), ("scope", scope)];
        let sometimes = sometimes.into_iter().filter_map(|(at, one)| Some((at, one.as_ref()?)));
        let mut all = always.into_iter().chain(sometimes);
        all.try_for_each(|(at, one)| one.check(&format!("serving.errors.{at}")))
    }
}

impl ErrorResponse {
    fn check(&self, at: &str) -> Result<(), DialectError> {
        let is_error = (400..=599).contains(&self.status);
        let status = self.status.to_string();
        require(&format!("{at}.status"), &status, is_error, "a status from 400 to 599")?;
        let is_json = serde_json::from_str::<serde_json::Value>(&self.body).is_ok();
        require(&format!("{at}.body"), &self.body, is_json, "the text of a JSON value")
    }
}

/// Returns whether an endpoint can have this path: absolute, without query or parameters.
pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#{}*".contains(&byte))
        // A client must be able to write the path into a request.
        && path.parse::<Uri>().is_ok_and(|uri| uri.path() == path)
}

const MEMBER: &str = "a member's name or path";

/// Returns whether the text can be the path of a member.
fn is_member(path: &str) -> bool {
    !path.is_empty() && path.split('.').all(|name| !name.is_empty())
}

/// Returns whether the text is a token (RFC 9110 section 5.6.2), as names of cookies and schemes
/// are.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_header(text: &str) -> bool {
    HeaderName::from_bytes(text.as_bytes()).is_ok()
}

fn count(field: &str, found: usize) -> Result<(), DialectError> {
    match (1..=MOST).contains(&found) {
        true => Ok(()),
        false => Err(DialectError::new(field, format!("found {found}; wanted are 1 to {MOST}"))),
    }
}

fn require(field: &str, found: &str, good: bool, wanted: &str) -> Result<(), DialectError> {
    match good {
        true => Ok(()),
        false => Err(DialectError::new(field, format!("found {found:?}; wanted is {wanted}"))),
    }
}
