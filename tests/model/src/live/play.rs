//! The simulation of one schedule, and the effect of each event on it.

use everfresh::Timestamp;
use everfresh::store::SessionRecord;

use super::browser::{Actor, Client, Flight, Kind, Stage};
use super::check::Broken;
use super::event::{Event, EventKind, Pick};
use super::ledger::Ledger;
use super::link::{Hub, Outage, Report};
use super::node::{Node, settle};
use super::setup::{Habit, NODES, START, Setup, TICK};
use super::tally::Tally;

/// The largest number of tabs.
const TABS: usize = 8;

pub(super) struct Simulation {
    pub(super) setup: Setup,
    pub(super) tick: u64,
    pub(super) hub: Hub,
    pub(super) nodes: Vec<Node>,
    pub(super) browser: Client,
    pub(super) device: Client,
    pub(super) thief: Option<Client>,
    pub(super) flights: Vec<Flight>,
    pub(super) ledger: Ledger,
    pub(super) backup: Vec<SessionRecord>,
    outage_ends: u64,
    /// The browser sends no more requests.
    gone: bool,
    /// Several requests are processed at once.
    pub(super) concurrent: bool,
    /// The reuse was detected.
    pub(super) noticed: bool,
    /// The thief was served.
    pub(super) served: bool,
    /// The clients that presented a refresh token of the stolen session, in order.
    pub(super) turns: Vec<Actor>,
    /// The events so far, and the requests that they applied to.
    pub(super) did: Vec<Event>,
    pub(super) tally: Tally,
    pub(super) trace: Option<Vec<String>>,
}

impl Simulation {
    /// Both devices are signed in.
    pub(super) async fn begin(setup: Setup, traced: bool) -> Result<Self, Broken> {
        let hub = Hub::new(setup.clock(NODES), setup.reuse_interval());
        let nodes = (0..NODES).map(|at| Node::new(setup, setup.clock(at), hub.link(at))).collect();
        let (browser, device) = Default::default();
        let mut simulation = Self {
            setup,
            tick: 0,
            hub,
            nodes,
            browser,
            device,
            thief: None,
            flights: Vec::new(),
            ledger: Ledger::default(),
            backup: Vec::new(),
            outage_ends: 0,
            gone: false,
            concurrent: false,
            noticed: false,
            served: false,
            turns: Vec::new(),
            did: Vec::new(),
            tally: Tally::default(),
            trace: traced.then(Vec::new),
        };
        simulation.say(|simulation| simulation.setup.to_string());
        for actor in [Actor::Browser, Actor::Device] {
            simulation.at_once(actor, Kind::SignIn, Pick(0)).await?;
        }
        Ok(simulation)
    }

    /// The time by the browser's clock, which is correct.
    pub(super) fn now(&self) -> Timestamp {
        START.plus(TICK * self.tick as u32)
    }

    pub(super) fn say(&mut self, line: impl FnOnce(&Self) -> String) {
        let Some(mut trace) = self.trace.take() else { return };
        trace.push(format!("{:>6} s  {}", TICK.as_secs() * self.tick, line(self)));
        self.trace = Some(trace);
    }

    pub(super) async fn apply(&mut self, event: Event) -> Result<(), Broken> {
        let before = self.turns.len();
        self.did.push(event);
        self.happen(event).await?;
        settle().await;
        while self.setup.prompt && !self.hub.wires().reports.is_empty() {
            self.confirm(0, false).await;
        }
        self.check_rows().await?;
        // Lock-step: the thief sends a request right after each refresh of the browser.
        let turned = self.turns[before..].contains(&Actor::Browser);
        if self.setup.habit == Some(Habit::LockStep) && turned {
            self.at_once(Actor::Thief, Kind::Visit, Pick(event.place)).await?;
        }
        Ok(())
    }

    async fn happen(&mut self, event: Event) -> Result<(), Broken> {
        let Event { what, mut pick, place, .. } = event;
        match what {
            EventKind::Tick => {
                let ticks = match pick.of(8) {
                    0..6 => 1,
                    6 => 2,
                    _ => 1 + pick.of(3 * self.setup.reuse_interval as usize) as u64,
                };
                self.pass(ticks);
            }
            EventKind::Sleep => {
                self.pass([300, 1800, 5400, 9000][pick.of(4)]);
                self.check_rows().await?;
                self.say(|_| "the browser wakes".into());
                for tab in 1..=TABS as u32 {
                    self.send(Kind::Visit, Pick(1), place * 10 + tab);
                }
                self.together(pick).await?;
            }
            EventKind::Send => self.send(Kind::Visit, pick, place * 10),
            EventKind::Prefetch => self.send(Kind::Prefetch, pick, place * 10),
            EventKind::SignIn => self.send(Kind::SignIn, pick, place * 10),
            EventKind::SignOut => self.send(Kind::SignOut, pick, place * 10),
            EventKind::Work => {
                if let Some((at, pick)) = self.about() {
                    match self.flights[at].stage {
                        Stage::Sent => self.arrive(at, pick).await?,
                        Stage::Slow(_) => self.leave(at, pick).await?,
                        Stage::Back(_) => self.come_back(at),
                    }
                }
            }
            EventKind::Together => self.together(pick).await?,
            EventKind::Lose => {
                if let Some((at, _)) = self.about() {
                    self.lose(at);
                }
            }
            EventKind::Confirm => {
                let at = pick.of(self.hub.wires().reports.len());
                self.confirm(at, pick.once_in(4)).await;
            }
            EventKind::Device => self.at_once(Actor::Device, Kind::Visit, pick).await?,
            EventKind::Thief => self.at_once(Actor::Thief, Kind::Visit, pick).await?,
            EventKind::Copy if self.thief.is_none() => {
                self.thief = Some(self.browser.clone());
                let held = self.browser.holds(self.now()).1.refresh;
                if let Some(session) = held.and_then(|token| self.ledger.find(token.sid)) {
                    self.ledger[session].stolen = true;
                }
                self.say(|_| "a thief copies the jar".into());
            }
            EventKind::Gone => {
                self.gone = true;
                self.say(|_| "the browser comes no more".into());
            }
            EventKind::Crash => {
                let node = pick.of(NODES);
                self.say(|_| format!("node {node} crashes"));
                self.tally.crashes += 1;
                self.drop_slow(Some(node));
                self.hub.wires().hang_up(node);
                self.renew(node);
            }
            EventKind::Keys => self.turn_keys(pick),
            EventKind::Backup => self.save().await,
            EventKind::Restore if !self.backup.is_empty() => self.restore().await,
            EventKind::Outage => {
                let outage = [Outage::Refusing, Outage::Mute][pick.of(2)];
                self.outage_ends = self.tick + 1 + pick.of(3 * self.setup.lifetime as usize) as u64;
                self.hub.wires().outage = Some(outage);
                self.tally.outages += 1;
                self.say(|_| format!("the store fails: {outage:?}"));
            }
            EventKind::Copy | EventKind::Restore => {}
        }
        Ok(())
    }

    /// The request that the current event applies to, and the rest of its pick.
    fn about(&mut self) -> Option<(usize, Pick)> {
        let event = self.did.last_mut()?;
        let at = match event.about {
            Some(number) => self.flights.iter().position(|flight| flight.number == number)?,
            None if self.flights.is_empty() => return None,
            None => event.pick.of(self.flights.len()),
        };
        event.about = Some(self.flights[at].number);
        Some((at, event.pick))
    }

    /// Time passes. Messages that were in transit for too long are lost.
    pub(super) fn pass(&mut self, ticks: u64) {
        self.tick += ticks;
        for clock in self.nodes.iter().map(|node| &node.clock).chain([&self.hub.clock]) {
            clock.advance(TICK * ticks as u32);
        }
        let oldest = self.tick.saturating_sub(self.setup.delay);
        while let Some(at) = self.flights.iter().position(|f| f.travels() && f.since < oldest) {
            self.lose(at);
        }
        if self.outage_ends <= self.tick && self.hub.wires().outage.take().is_some() {
            self.say(|_| "the store is back".into());
        }
    }

    pub(super) fn lose(&mut self, at: usize) {
        let flight = self.flights.remove(at);
        self.tally.lost += 1;
        self.say(|_| format!("{} is lost", flight.number));
    }

    /// Drops the unfinished handlers of one node, or of all nodes.
    pub(super) fn drop_slow(&mut self, of: Option<usize>) {
        let lost = |flight: &Flight| match &flight.stage {
            Stage::Slow(slow) => of.is_none_or(|of| of == slow.node),
            _ => false,
        };
        while let Some(at) = self.flights.iter().position(lost) {
            self.lose(at);
        }
    }

    fn send(&mut self, kind: Kind, mut pick: Pick, number: u32) {
        if self.gone || self.flights.len() >= TABS {
            return;
        }
        let asked = self.asks(Actor::Browser, kind, pick.once_in(3));
        if asked.kind == Kind::SignOut && asked.tokens.is_empty() {
            return;
        }
        self.say(|simulation| format!("{number} is sent: {}", simulation.tell(&asked)));
        self.flights.push(Flight { number, asked, since: self.tick, stage: Stage::Sent });
    }

    /// Delivers or drops a confirmation, if there is one.
    async fn confirm(&mut self, at: usize, lost: bool) {
        let report = {
            let mut wires = self.hub.wires();
            if wires.reports.is_empty() {
                return;
            }
            wires.reports.remove(at)
        };
        let lost = lost || self.hub.wires().outage.is_some();
        if !lost {
            self.hub.deliver(report).await;
        }
        self.say(|simulation| {
            let Report { sid, generation, .. } = report;
            let end = if lost { "is lost" } else { "is there" };
            format!("the confirmation of {}.{generation} {end}", simulation.name(sid))
        });
    }
}
