//! A store on a host of its own, and a node's connection to it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use everfresh::store::{
    FeedEvent, Loaded, NewSession, NewUpstreamTokens, Publication, Reservation, RevocationSink,
    Rotation, SessionRecord, SessionStore, StoreError, UpstreamTokenStore,
};
use everfresh::{MemoryStore, SessionId};
use tokio::io::{BufReader, split};
use tokio::sync::mpsc;
use tokio::time::timeout;
use turmoil::net::{TcpListener, TcpStream};

use crate::ledger::Ledger;
use crate::wire::{Asked, Begun, Said, at, hear, moment, say, sid};

pub(crate) const HOST: &str = "store";
const PORT: u16 = 7000;

/// A node's time limit for a store call.
const LIMIT: Duration = Duration::from_secs(1);

/// The interval of the store's keep-alive messages, and the time limit for its silence.
const BEAT: Duration = Duration::from_millis(500);
const SILENCE: Duration = Duration::from_millis(2000);

/// The host: rows that outlast it, and their events.
pub(crate) async fn serve(rows: MemoryStore, ledger: Arc<Ledger>) -> turmoil::Result {
    let listener = TcpListener::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (rows, ledger) = (rows.clone(), ledger.clone());
        tokio::spawn(async move {
            // A client that disconnects is not an error.
            let _ = answer(stream, rows, &ledger).await;
        });
    }
}

async fn answer(stream: TcpStream, rows: MemoryStore, ledger: &Ledger) -> std::io::Result<()> {
    let (from, mut to) = split(stream);
    let mut from = BufReader::new(from);
    let asked: Asked = hear(&mut from).await?;
    if let Asked::Follow { back } = asked {
        return feed(&rows, Duration::from_millis(back), &mut to).await;
    }
    let said = perform(&rows, ledger, asked).await;
    say(&mut to, &said.unwrap_or_else(|error| Said::Failed(error.to_string()))).await
}

async fn perform(rows: &MemoryStore, ledger: &Ledger, asked: Asked) -> Result<Said, StoreError> {
    Ok(match asked {
        Asked::Create(begun) => {
            rows.create(NewSession::from(*begun)).await?;
            Said::Done
        }
        Asked::Load(id) => match rows.load(sid(id)).await? {
            Some(Loaded { record, now, .. }) => {
                Said::Row(Some(Box::new(record.into())), moment(now))
            }
            None => Said::Row(None, 0),
        },
        Asked::Rotate { sid: id, from, to, key_id, claims, user_activity } => {
            let mut rotation = Rotation::new(sid(id), from, to, key_id);
            (rotation.claims, rotation.user_activity) = (claims, user_activity);
            let made = rows.rotate(rotation).await?;
            if made && to != from {
                ledger.rotated(sid(id), from);
            }
            Said::Made(made)
        }
        Asked::Confirm { sid: id, generation, user_activity } => {
            rows.confirm(sid(id), generation, user_activity).await?;
            Said::Done
        }
        Asked::Revoke(id) => Said::Made(rows.revoke(sid(id)).await?),
        Asked::RevokeSubject { subject, except } => {
            let ended = rows.revoke_subject(&subject, except.map(sid)).await?;
            Said::Ids(ended.iter().map(|sid| *sid.as_bytes()).collect())
        }
        Asked::List(subject) => {
            Said::Rows(rows.list(&subject).await?.into_iter().map(Into::into).collect())
        }
        Asked::Sweep(limit) => Said::Swept(rows.sweep(limit).await?),
        Asked::Reservation(claimed) => {
            let made = rows.reserve(claimed.into()).await?;
            if made {
                ledger.claimed(sid(claimed.sid));
            }
            Said::Made(made)
        }
        Asked::Release(claimed) => {
            let made = rows.release(claimed.into()).await?;
            if made {
                ledger.unclaimed(sid(claimed.sid));
            }
            Said::Made(made)
        }
        Asked::Publish { sid: id, seq, sealed, expires_in, claims } => {
            let tokens = NewUpstreamTokens::new(sealed, Duration::from_millis(expires_in));
            let mut new = Publication::new(sid(id), seq, tokens);
            new.claims = claims;
            let made = rows.publish(new).await?;
            if made {
                ledger.unclaimed(sid(id));
            }
            Said::Made(made)
        }
        Asked::End(id) => {
            let row = rows.end(sid(id)).await?;
            Said::Row(row.map(|row| Box::new(row.into())), 0)
        }
        Asked::Follow { .. } => unreachable!("answered by the feed"),
    })
}

/// Sends the sessions that end until the node is gone.
async fn feed(
    rows: &MemoryStore,
    back: Duration,
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let sink = RevocationSink::new(back, move |heard| match heard {
        FeedEvent::Ended(sids) => {
            sids.iter().all(|sid| tell.send(Said::Ended(*sid.as_bytes())).is_ok())
        }
        FeedEvent::Live => tell.send(Said::Live).is_ok(),
        _ => !tell.is_closed(),
    });
    let following = rows.watch_revocations(sink);
    let telling = async {
        loop {
            match timeout(BEAT, told.recv()).await {
                Ok(Some(said)) => say(to, &said).await?,
                Ok(None) => return Ok(()),
                Err(_) => say(to, &Said::Live).await?,
            }
        }
    };
    tokio::select! {
        _ = following => Ok(()),
        told = telling => told,
    }
}

/// A node's connection to the store.
#[derive(Clone)]
pub(crate) struct Remote;

impl Remote {
    async fn ask(&self, asked: Asked) -> Result<Said, StoreError> {
        let exchange = async {
            let (from, mut to) = split(TcpStream::connect((HOST, PORT)).await?);
            say(&mut to, &asked).await?;
            hear::<Said>(&mut BufReader::new(from)).await
        };
        match timeout(LIMIT, exchange).await {
            Ok(Ok(Said::Failed(problem))) => Err(StoreError::new(problem)),
            Ok(Ok(said)) => Ok(said),
            Ok(Err(error)) => Err(StoreError::new(error)),
            Err(_) => Err(StoreError::new("no answer in time")),
        }
    }

    async fn made(&self, asked: Asked) -> Result<bool, StoreError> {
        match self.ask(asked).await? {
            Said::Made(made) => Ok(made),
            _ => Err(unexpected()),
        }
    }

    async fn done(&self, asked: Asked) -> Result<(), StoreError> {
        match self.ask(asked).await? {
            Said::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> StoreError {
    StoreError::new("another answer than to what was asked")
}

impl SessionStore for Remote {
    async fn create(&self, new: NewSession) -> Result<(), StoreError> {
        self.done(Asked::Create(Box::new(Begun::from(new)))).await
    }

    async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
        match self.ask(Asked::Load(*sid.as_bytes())).await? {
            Said::Row(row, now) => Ok(row.map(|row| Loaded::new((*row).into(), at(now)))),
            _ => Err(unexpected()),
        }
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
        self.made(Asked::rotate(rotation)).await
    }

    async fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> Result<(), StoreError> {
        self.done(Asked::Confirm { sid: *sid.as_bytes(), generation, user_activity }).await
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        self.made(Asked::Revoke(*sid.as_bytes())).await
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let except = except.map(|sid| *sid.as_bytes());
        match self.ask(Asked::RevokeSubject { subject: subject.into(), except }).await? {
            Said::Ids(ids) => Ok(ids.into_iter().map(sid).collect()),
            _ => Err(unexpected()),
        }
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        match self.ask(Asked::List(subject.into())).await? {
            Said::Rows(rows) => Ok(rows.into_iter().map(Into::into).collect()),
            _ => Err(unexpected()),
        }
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        match self.ask(Asked::Sweep(limit)).await? {
            Said::Swept(swept) => Ok(swept),
            _ => Err(unexpected()),
        }
    }

    async fn watch_revocations(&self, sink: RevocationSink) -> Result<(), StoreError> {
        let connecting = timeout(LIMIT, TcpStream::connect((HOST, PORT))).await;
        let stream = connecting.map_err(StoreError::new)?.map_err(StoreError::new)?;
        let (from, mut to) = split(stream);
        let mut from = BufReader::new(from);
        let back = crate::wire::millis(sink.lookback());
        say(&mut to, &Asked::Follow { back }).await.map_err(StoreError::new)?;
        loop {
            let heard = timeout(SILENCE, hear::<Said>(&mut from)).await;
            match heard.map_err(StoreError::new)?.map_err(StoreError::new)? {
                Said::Ended(id) => sink.ended(&[sid(id)]).await,
                Said::Live => sink.live(),
                _ => return Err(unexpected()),
            }
            if sink.is_closed() {
                return Ok(());
            }
        }
    }
}

impl UpstreamTokenStore for Remote {
    async fn reserve(&self, claim: Reservation) -> Result<bool, StoreError> {
        self.made(Asked::Reservation(claim.into())).await
    }

    async fn release(&self, claim: Reservation) -> Result<bool, StoreError> {
        self.made(Asked::Release(claim.into())).await
    }

    async fn publish(&self, new: Publication) -> Result<bool, StoreError> {
        self.made(Asked::publish(new)).await
    }

    async fn end(&self, sid: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        match self.ask(Asked::End(*sid.as_bytes())).await? {
            Said::Row(row, _) => Ok(row.map(|row| (*row).into())),
            _ => Err(unexpected()),
        }
    }
}
