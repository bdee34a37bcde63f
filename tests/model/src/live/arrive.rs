//! The path of a request: sent, processed by a node, answered, stored in the jar.

use everfresh::SessionId;
use http::StatusCode;

use super::browser::{Actor, Answer, Client, ClientRequest, Flight, Kind, Slow, Stage, Tokens};
use super::check::Broken;
use super::event::Pick;
use super::held::Held;
use super::link::Outage;
use super::node::{Open, handle, leave, settle};
use super::play::Simulation;
use super::setup::NODES;

impl Simulation {
    fn client(&mut self, actor: Actor) -> &mut Client {
        match actor {
            Actor::Browser => &mut self.browser,
            Actor::Device => &mut self.device,
            Actor::Thief => self.thief.get_or_insert_default(),
        }
    }

    /// A request as this client makes it now. A client that gets a 401, or has no tokens, signs in.
    pub(super) fn asks(&mut self, actor: Actor, kind: Kind, navigates: bool) -> ClientRequest {
        let now = self.now();
        let client = self.client(actor);
        let refused = client.refused;
        let (cookies, tokens) = client.holds(now);
        let signing_in = self.flights.iter().any(|flight| flight.asked.kind == Kind::SignIn);
        let signs_in = match actor {
            Actor::Browser => !signing_in,
            Actor::Device => true,
            Actor::Thief => false,
        };
        let kind = match kind {
            Kind::Visit if signs_in && (refused || tokens.refresh.is_none()) => Kind::SignIn,
            kind => kind,
        };
        ClientRequest { actor, kind, navigates, cookies, tokens }
    }

    /// A node processes a request, and the result is checked. `finishes`: a refresh beside the
    /// request finishes before the handler does.
    async fn process(
        &mut self,
        asked: &ClientRequest,
        node: usize,
        finishes: bool,
    ) -> Result<(Held, Open), Broken> {
        let held = self.look(asked, node).await;
        if held.outage.is_some() {
            self.nodes[node].leap();
        }
        let open = handle(self.nodes[node].engine.clone(), asked.request(), asked.kind).await;
        if finishes {
            settle().await;
        }
        Ok((held, open))
    }

    async fn check_result(
        &mut self,
        asked: &ClientRequest,
        node: usize,
        held: &Held,
        open: &Open,
    ) -> Result<(), Broken> {
        settle().await;
        if held.outage.is_some() {
            self.nodes[node].leap();
        }
        self.say(|simulation| simulation.tell_answer(asked, node, held, open.status));
        self.served |= asked.actor == Actor::Thief && open.status == StatusCode::OK;
        self.tally.requests += 1;
        self.check(asked, node, held, open, !self.concurrent).await?;
        self.check_rows().await
    }

    /// A request reaches a node. Its handler answers at once or later.
    pub(super) async fn arrive(&mut self, at: usize, mut pick: Pick) -> Result<(), Broken> {
        let mut flight = self.flights.remove(at);
        let node = pick.of(NODES);
        let (slow, finishes) = (pick.once_in(3), pick.once_in(2));
        let (held, open) = self.process(&flight.asked, node, slow || finishes).await?;
        let slow = slow && open.status == StatusCode::OK;
        let cookies = match slow {
            true => None,
            false => Some(leave(&self.nodes[node].engine, &open).await),
        };
        self.say(|_| format!("{} arrives{}", flight.number, if slow { ", slowly" } else { "" }));
        self.check_result(&flight.asked, node, &held, &open).await?;
        match cookies {
            None => {
                let waits_left = [0, 2, 8, 30][pick.of(4)];
                flight.stage = Stage::Slow(Box::new(Slow { node, open, held, waits_left }));
                self.flights.push(flight);
                Ok(())
            }
            Some(cookies) => self.answer(flight, &held, Answer { status: open.status, cookies }),
        }
    }

    /// A slow handler continues, or finishes.
    pub(super) async fn leave(&mut self, at: usize, mut pick: Pick) -> Result<(), Broken> {
        let mut flight = self.flights.remove(at);
        let Stage::Slow(mut slow) = flight.stage else { return Ok(()) };
        if slow.waits_left > 0 {
            slow.waits_left -= 1;
            flight.stage = Stage::Slow(slow);
            self.flights.push(flight);
            return Ok(());
        }
        let Slow { node, open, mut held, .. } = *slow;
        if self.setup.refreshing && pick.once_in(4) {
            self.refresh(flight.number, node, &open, &mut held).await?;
        }
        let cookies = leave(&self.nodes[node].engine, &open).await;
        flight.stage = Stage::Sent;
        self.answer(flight, &held, Answer { status: open.status, cookies: cookies.clone() })?;
        self.check_late(node, &cookies)
    }

    /// A handler asks for a refresh.
    async fn refresh(
        &mut self,
        number: u32,
        node: usize,
        open: &Open,
        held: &mut Held,
    ) -> Result<(), Broken> {
        let done = open.session.refresh().await.map_err(|error| error.kind());
        self.nodes[node].leap();
        self.say(|_| format!("{number}: its handler refreshes: {done:?}"));
        let refusing = self.hub.wires().outage == Some(Outage::Refusing);
        held.outage = held.outage.filter(|_| refusing);
        if let Some(session) = held.refresh {
            self.ledger.ran_out(session, &format!("by the handler of {number}"));
        }
        // The presented tokens may end a stolen session; only the row tells.
        self.concurrent = true;
        self.check_rows().await?;
        self.concurrent = false;
        Ok(())
    }

    /// A response is sent.
    fn answer(&mut self, mut flight: Flight, held: &Held, answer: Answer) -> Result<(), Broken> {
        let number = flight.number;
        self.say(|simulation| {
            format!("{number} is answered: {}", simulation.tell_cookies(&answer.cookies))
        });
        self.check_cookies(&flight.asked, held, answer.status, &answer.cookies)?;
        if flight.asked.kind != Kind::Prefetch {
            flight.since = self.tick;
            flight.stage = Stage::Back(answer);
            self.flights.push(flight);
        }
        Ok(())
    }

    /// A response reaches the jar.
    pub(super) fn come_back(&mut self, at: usize) {
        let flight = self.flights.remove(at);
        let Stage::Back(answer) = &flight.stage else { return };
        self.say(|_| format!("{} is back", flight.number));
        let now = self.now();
        let holds = |simulation: &Self| {
            let refresh = simulation.browser.holds(now).1.refresh;
            refresh.and_then(|token| simulation.ledger.find(token.sid))
        };
        let latest =
            self.ledger.latest(Actor::Browser).filter(|latest| holds(self) == Some(*latest));
        self.browser.keep(answer, now);
        // It was sent before the sign-in, and no server can revoke a response in transit.
        let overtaken = latest.is_some() && holds(self) != latest;
        self.tally.overtaken += u64::from(overtaken);
    }

    /// All requests in transit arrive at once, at any node, and race in the store.
    pub(super) async fn together(&mut self, mut pick: Pick) -> Result<(), Broken> {
        let visits = |flight: &Flight| {
            let visit = matches!(flight.asked.kind, Kind::Visit | Kind::Prefetch);
            visit && matches!(flight.stage, Stage::Sent)
        };
        if self.hub.wires().outage.is_some() {
            // A refresh that fails now would cause a back-off of random length.
            while let Some(at) = self.flights.iter().position(visits) {
                self.arrive(at, pick).await?;
            }
            return Ok(());
        }
        let pauses = pick.of(4);
        self.say(|_| format!("all arrive together; the store takes {pauses}"));
        let mut racers = Vec::new();
        while let Some(at) = self.flights.iter().position(visits) {
            let flight = self.flights.remove(at);
            let node = (racers.len() + pick.0 as usize) % NODES;
            let held = self.look(&flight.asked, node).await;
            racers.push((flight, node, held));
        }
        self.concurrent = racers.len() > 1;
        self.hub.wires().pauses = pauses;
        let tasks: Vec<_> = racers
            .iter()
            .map(|(flight, node, _)| {
                let engine = self.nodes[*node].engine.clone();
                tokio::spawn(handle(engine, flight.asked.request(), flight.asked.kind))
            })
            .collect();
        for (task, (flight, node, held)) in tasks.into_iter().zip(racers) {
            let open = task.await.expect("a handler does not panic");
            let cookies = leave(&self.nodes[node].engine, &open).await;
            self.say(|_| format!("{} arrives", flight.number));
            self.check_result(&flight.asked, node, &held, &open).await?;
            self.answer(flight, &held, Answer { status: open.status, cookies })?;
        }
        settle().await;
        self.hub.wires().pauses = 0;
        self.check_rows().await?;
        self.concurrent = false;
        Ok(())
    }

    /// A client with a good network sends a request and gets the answer at once.
    pub(super) async fn at_once(
        &mut self,
        actor: Actor,
        kind: Kind,
        mut pick: Pick,
    ) -> Result<(), Broken> {
        if actor == Actor::Thief && self.thief.is_none() {
            return Ok(());
        }
        let (node, navigates, finishes) = (pick.of(NODES), pick.once_in(3), pick.once_in(2));
        let asked = self.asks(actor, kind, navigates);
        self.say(|simulation| format!("{actor:?} asks: {}", simulation.tell(&asked)));
        let (held, open) = self.process(&asked, node, finishes).await?;
        let cookies = leave(&self.nodes[node].engine, &open).await;
        self.check_result(&asked, node, &held, &open).await?;
        self.say(|simulation| {
            format!("{actor:?} is answered: {}", simulation.tell_cookies(&cookies))
        });
        self.check_cookies(&asked, &held, open.status, &cookies)?;
        let now = self.now();
        self.client(actor).keep(&Answer { status: open.status, cookies }, now);
        Ok(())
    }

    pub(super) fn tell(&self, asked: &ClientRequest) -> String {
        let page = if asked.navigates { ", a page" } else { "" };
        format!("{:?}{page}, {}", asked.kind, self.tell_tokens(&asked.tokens))
    }

    fn tell_answer(
        &self,
        asked: &ClientRequest,
        node: usize,
        held: &Held,
        status: StatusCode,
    ) -> String {
        let left = match asked.tokens.access {
            Some(_) => format!(", {} s left", held.left),
            None => String::new(),
        };
        let row = match &held.row {
            Some(row) => {
                let age = self.hub.clock.now().since(row.rotated_at).as_secs();
                let shown = if row.confirmed { "shown" } else { "not shown" };
                format!("generation {} for {age} s, {shown}", row.generation)
            }
            None => "no row".into(),
        };
        format!("         node {node} ({row}{left}): {status}")
    }

    fn tell_cookies(&self, cookies: &[String]) -> String {
        self.tell_tokens(&Tokens::set(cookies))
    }

    /// A session's number. The id differs in each run.
    pub(super) fn name(&self, sid: SessionId) -> String {
        self.ledger.find(sid).map_or("?".into(), |session| session.to_string())
    }

    fn tell_tokens(&self, tokens: &Tokens) -> String {
        let mut told = Vec::new();
        if let Some(token) = &tokens.access {
            told.push(format!("access {}.{}", self.name(token.sid), token.generation));
        }
        if let Some(token) = &tokens.refresh {
            told.push(format!("refresh {}.{}", self.name(token.sid), token.generation));
        }
        if tokens.cleared {
            told.push("cookies cleared".into());
        }
        if told.is_empty() { "no tokens".into() } else { told.join(", ") }
    }
}
