//! The spans of the page, as a subscriber sees them.

use std::fmt::Debug;

use tracing::Instrument as _;
use tracing::field::Field;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use super::*;

/// The record of one span.
#[derive(Clone, Debug, Default)]
struct Span {
    name: &'static str,
    level: String,
    parent: Option<&'static str>,
    follows: Option<&'static str>,
    fields: BTreeMap<&'static str, String>,
    closed: bool,
}

impl Visit for Span {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

/// Records every span, in the order of their start.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<(u64, Span)>>>);

impl Spans {
    fn change(&self, id: &Id, change: impl FnOnce(&mut Span)) {
        let mut spans = self.0.lock().unwrap();
        // The id of a closed span is used again.
        let (_, span) = spans.iter_mut().rev().find(|(one, _)| *one == id.into_u64()).unwrap();
        change(span);
    }

    fn all(&self) -> Vec<Span> {
        self.0.lock().unwrap().iter().map(|(_, span)| span.clone()).collect()
    }

    fn named(&self, name: &str) -> Vec<Span> {
        self.all().into_iter().filter(|span| span.name == name).collect()
    }
}

impl<S: tracing::Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let metadata = attributes.metadata();
        let parent = cx.span(id).and_then(|span| span.parent()).map(|parent| parent.name());
        let (name, level) = (metadata.name(), metadata.level().as_str().to_lowercase());
        let mut span = Span { name, level, parent, ..Span::default() };
        attributes.record(&mut span);
        self.0.lock().unwrap().push((id.into_u64(), span));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        self.change(id, |span| values.record(span));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, cx: Context<'_, S>) {
        let follows = cx.span(follows).map(|span| span.name());
        self.change(id, |span| span.follows = follows);
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.change(&id, |span| span.closed = true);
    }
}

fn listen_everywhere() -> Spans {
    // A callsite that another thread reaches first is disabled for all threads, unless that thread
    // has a subscriber too.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
    Spans::default()
}

#[tokio::test]
async fn a_refresh_is_a_span_of_its_own_and_so_is_the_wait_for_it() {
    let spans = listen_everywhere();
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
    let (fixture, _) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    fixture.me(pair.request()).await;
    tokio::task::yield_now().await;
    assert!(spans.named("everfresh.wait").is_empty(), "a fresh token: nothing happens to it");
    fixture.pass_until_left(&pair.access, 0);
    let request = tracing::info_span!("request");
    assert_eq!(fixture.me(pair.request()).instrument(request).await.body(), "alice");

    let [wait] = &spans.named("everfresh.wait")[..] else { panic!("{:?}", spans.all()) };
    assert_eq!((wait.parent, &*wait.level), (Some("request"), "info"));
    assert_eq!((&*wait.fields["entry"], &*wait.fields["outcome"]), ("started", "refreshed"));
    let [refresh] = &spans.named("everfresh.refresh")[..] else { panic!("{:?}", spans.all()) };
    assert_eq!((refresh.parent, refresh.follows), (None, Some("request")));
    assert_eq!((&*refresh.level, &*refresh.fields["outcome"]), ("info", "refreshed"));
    assert!(refresh.closed);
    assert_eq!(refresh.fields["sid"], wait.fields["sid"]);
    assert_eq!(refresh.fields["sid"].len(), 22, "{refresh:?}");
    let calls: Vec<_> = spans
        .named("everfresh.store")
        .into_iter()
        .filter(|call| call.parent == Some("everfresh.refresh"))
        .map(|call| {
            assert_eq!(
                (&*call.level, &*call.fields["failed"], call.closed),
                ("debug", "false", true)
            );
            call.fields["call"].clone()
        })
        .collect();
    assert_eq!(calls, ["load", "rotate"]);

    for span in spans.all() {
        for value in span.fields.values() {
            let shown = |token: &str| value.contains(&token[token.len() - 12..]);
            assert!(!shown(&pair.access) && !shown(&pair.refresh), "{span:?}");
        }
    }
}

#[tokio::test]
async fn a_span_says_how_a_refresh_failed() {
    let spans = listen_everywhere();
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
    let fixture = Fixture::with(|b| {
        b.leeway(Duration::ZERO)
            .revalidate_with(|_| async { Err::<crate::Revalidated<_>, _>("down") })
    });
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    for _ in 0..2 {
        assert_eq!(fixture.me(cookie(&token)).await.status(), 503);
    }
    let waits: Vec<_> = spans.named("everfresh.wait").into_iter().map(|span| span.fields).collect();
    let entries: Vec<_> = waits.iter().map(|fields| &*fields["entry"]).collect();
    assert_eq!(entries, ["started", "backed_off"]);
    assert!(waits.iter().all(|fields| fields["outcome"] == "unavailable"));
    assert_eq!(spans.named("everfresh.refresh").len(), 1);
    assert_eq!(spans.named("everfresh.refresh")[0].fields["outcome"], "unavailable");
}
