//! The rules for another server's tokens: which node may send a single-use token, and how its
//! answer is handled.

use super::{Rule, Search};

const CALLS: &str = "crates/everfresh-upstream/src/upstream/token_endpoint.rs";
const CLAIMING: &str = "crates/everfresh-upstream/src/upstream/reserve.rs";
const EXCHANGE: &str = "crates/everfresh-upstream/src/upstream/exchange.rs";
const KEEPER: &str = "crates/everfresh-upstream/src/upstream/keeper.rs";
const TABLE: &str = "crates/everfresh-upstream/src/upstream/send_rules.rs";
const CUSTODY: &str = "crates/everfresh/src/store/upstream.rs";

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "the row is reserved before a token is sent",
        file: EXCHANGE,
        with: "Box::pin(permission)).await;",
        without: "Box::pin(async move { drop(permission); true })).await;",
        search: Search::Upstream("strict"),
    },
    Rule {
        name: "only a token that no node has sent is reserved",
        file: CUSTODY,
        with: "None => self.tries == 0,",
        without: "None => true,",
        search: Search::Upstream("strict"),
    },
    Rule {
        name: "a claim does not expire",
        file: TABLE,
        with: "Replay::Never | Replay::Within(_) => SendDecision::InDoubt,",
        without: "_ => SendDecision::Send { replaces: Some((reservation, upstream.reserved_at)) },",
        search: Search::Upstream("strict"),
    },
    Rule {
        name: "tokens are published without the reservation",
        file: EXCHANGE,
        with: "            let publication = Publication::new(",
        without: "            if let Ok(Some(row)) = shared.store.load(sid).await\n                && row.record.upstream.is_some_and(|upstream| upstream.reservation != Some(reservation.id))\n            {\n                return Some(ExchangeResult::Lost);\n            }\n            let publication = Publication::new(",
        search: Search::Upstream("grace"),
    },
    Rule {
        name: "an answer is listened for beyond the limit",
        file: CALLS,
        with: "                call.await\n",
        without: "                Err(crate::http::HttpError::Timeout { limit: upstream.limit })\n",
        search: Search::Upstream("strict"),
    },
    Rule {
        name: "a node releases its own reservation alone",
        file: CUSTODY,
        with: "            || self.reservation != Some(reservation.id)\n",
        without: "",
        search: Search::Upstream("strict"),
    },
    Rule {
        name: "what may have been sent is not given back",
        file: CALLS,
        with: "if unsent {",
        without: "if true {",
        search: Search::Upstream("strict"),
    },
    Rule {
        name: "a token is sent within a second of its claim",
        file: CLAIMING,
        with: "if granted && !requested.is_recent(&cx) {",
        without: "if false {",
        search: Search::Upstream("grace"),
    },
    Rule {
        name: "a claim is looked up whose acknowledgement was lost",
        file: CLAIMING,
        with: "if upstream.is_some_and(made) {",
        without: "if upstream.is_some_and(made) && false {",
        search: Search::Upstream("strict"),
    },
    Rule {
        name: "what the store did not take is offered again",
        file: EXCHANGE,
        with: "Err(error) => cx.store_failed(&error),\n            }\n            if !reported {",
        without: "Err(_) => return Some(ExchangeResult::NoAnswer),\n            }\n            if !reported {",
        search: Search::Upstream("strict"),
    },
    Rule {
        name: "of two that were sent one may have been taken",
        file: EXCHANGE,
        with: "if upstream.tries > 1 &&",
        without: "if false &&",
        search: Search::Upstream("lenient"),
    },
    Rule {
        name: "a token that came after the sign-out is revoked",
        file: EXCHANGE,
        with: "                        revoke(upstream, cx, tokens);\n",
        without: "",
        search: Search::Upstream("strict"),
    },
    Rule {
        name: "a session ends with what its row holds then",
        file: KEEPER,
        with: "let ended = self.shared.store.end(sid).await.map_err(",
        without: "let loaded = self.shared.store.load(sid).await.ok().flatten().map(|loaded| loaded.record);\n        let ended = self.shared.store.revoke(sid).await.map(|_| loaded).map_err(",
        search: Search::Upstream("strict"),
    },
    Rule {
        name: "a claim that was replaced stands again as old as it is",
        file: CUSTODY,
        with: "self.reserved_at = at;",
        without: "let _ = at;",
        search: Search::Upstream("grace"),
    },
    Rule {
        name: "nothing is sent again that does not fit the grace",
        file: TABLE,
        with: "upstream.tries < 2 && age + SEND_LIMIT < grace",
        without: "upstream.tries < 2",
        search: Search::Upstream("grace"),
    },
    Rule {
        name: "a grace is looked at again where a claim replaces another",
        file: CLAIMING,
        with: "if reservation.replaces.is_some() && !still_fits",
        without: "if false && !still_fits",
        search: Search::UpstreamFrom("grace", "seed=240000"),
    },
];
