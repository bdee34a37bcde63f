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
use crate::wire::{NewRow, StoreAnswer, StoreRequest, from_millis, receive, send, sid, to_millis};

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
    let asked: StoreRequest = receive(&mut from).await?;
    if let StoreRequest::Follow { back } = asked {
        return feed(&rows, Duration::from_millis(back), &mut to).await;
    }
    let said = perform(&rows, ledger, asked).await;
    send(&mut to, &said.unwrap_or_else(|error| StoreAnswer::Failed(error.to_string()))).await
}

async fn perform(
    rows: &MemoryStore,
    ledger: &Ledger,
    asked: StoreRequest,
) -> Result<StoreAnswer, StoreError> {
    Ok(match asked {
        StoreRequest::Create(begun) => {
            rows.create(NewSession::from(*begun)).await?;
            StoreAnswer::Done
        }
        StoreRequest::Load(id) => match rows.load(sid(id)).await? {
            Some(Loaded { record, now, .. }) => {
                StoreAnswer::Row(Some(Box::new(record.into())), to_millis(now))
            }
            None => StoreAnswer::Row(None, 0),
        },
        StoreRequest::Rotate { sid: id, from, to, key_id, claims, user_activity } => {
            let mut rotation = Rotation::new(sid(id), from, to, key_id);
            (rotation.claims, rotation.user_activity) = (claims, user_activity);
            let made = rows.rotate(rotation).await?;
            if made && to != from {
                ledger.rotated(sid(id), from);
            }
            StoreAnswer::Made(made)
        }
        StoreRequest::Confirm { sid: id, generation, user_activity } => {
            rows.confirm(sid(id), generation, user_activity).await?;
            StoreAnswer::Done
        }
        StoreRequest::Revoke(id) => StoreAnswer::Made(rows.revoke(sid(id)).await?),
        StoreRequest::RevokeSubject { subject, except } => {
            let ended = rows.revoke_subject(&subject, except.map(sid)).await?;
            StoreAnswer::Ids(ended.iter().map(|sid| *sid.as_bytes()).collect())
        }
        StoreRequest::List(subject) => {
            StoreAnswer::Rows(rows.list(&subject).await?.into_iter().map(Into::into).collect())
        }
        StoreRequest::Sweep(limit) => StoreAnswer::Swept(rows.sweep(limit).await?),
        StoreRequest::Reservation(reserved) => {
            let made = rows.reserve(reserved.into()).await?;
            if made {
                ledger.reserved(sid(reserved.sid));
            }
            StoreAnswer::Made(made)
        }
        StoreRequest::Release(reserved) => {
            let made = rows.release(reserved.into()).await?;
            if made {
                ledger.released(sid(reserved.sid));
            }
            StoreAnswer::Made(made)
        }
        StoreRequest::Publish { sid: id, seq, sealed, expires_in, claims } => {
            let tokens = NewUpstreamTokens::new(sealed, Duration::from_millis(expires_in));
            let mut new = Publication::new(sid(id), seq, tokens);
            new.claims = claims;
            let made = rows.publish(new).await?;
            if made {
                ledger.released(sid(id));
            }
            StoreAnswer::Made(made)
        }
        StoreRequest::End(id) => {
            let row = rows.end(sid(id)).await?;
            StoreAnswer::Row(row.map(|row| Box::new(row.into())), 0)
        }
        StoreRequest::Follow { .. } => unreachable!("answered by the feed"),
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
            sids.iter().all(|sid| tell.send(StoreAnswer::Ended(*sid.as_bytes())).is_ok())
        }
        FeedEvent::Live => tell.send(StoreAnswer::Live).is_ok(),
        _ => !tell.is_closed(),
    });
    let following = rows.watch_revocations(sink);
    let telling = async {
        loop {
            match timeout(BEAT, told.recv()).await {
                Ok(Some(said)) => send(to, &said).await?,
                Ok(None) => return Ok(()),
                Err(_) => send(to, &StoreAnswer::Live).await?,
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
    async fn ask(&self, asked: StoreRequest) -> Result<StoreAnswer, StoreError> {
        let exchange = async {
            let (from, mut to) = split(TcpStream::connect((HOST, PORT)).await?);
            send(&mut to, &asked).await?;
            receive::<StoreAnswer>(&mut BufReader::new(from)).await
        };
        match timeout(LIMIT, exchange).await {
            Ok(Ok(StoreAnswer::Failed(problem))) => Err(StoreError::new(problem)),
            Ok(Ok(said)) => Ok(said),
            Ok(Err(error)) => Err(StoreError::new(error)),
            Err(_) => Err(StoreError::new("no answer in time")),
        }
    }

    async fn made(&self, asked: StoreRequest) -> Result<bool, StoreError> {
        match self.ask(asked).await? {
            StoreAnswer::Made(made) => Ok(made),
            _ => Err(unexpected()),
        }
    }

    async fn done(&self, asked: StoreRequest) -> Result<(), StoreError> {
        match self.ask(asked).await? {
            StoreAnswer::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> StoreError {
    StoreError::new("another answer than to what was asked")
}

impl SessionStore for Remote {
    async fn create(&self, new: NewSession) -> Result<(), StoreError> {
        self.done(StoreRequest::Create(Box::new(NewRow::from(new)))).await
    }

    async fn load(&self, sid: SessionId) -> Result<Option<Loaded>, StoreError> {
        match self.ask(StoreRequest::Load(*sid.as_bytes())).await? {
            StoreAnswer::Row(row, now) => {
                Ok(row.map(|row| Loaded::new((*row).into(), from_millis(now))))
            }
            _ => Err(unexpected()),
        }
    }

    async fn rotate(&self, rotation: Rotation) -> Result<bool, StoreError> {
        self.made(StoreRequest::rotate(rotation)).await
    }

    async fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> Result<(), StoreError> {
        self.done(StoreRequest::Confirm { sid: *sid.as_bytes(), generation, user_activity }).await
    }

    async fn revoke(&self, sid: SessionId) -> Result<bool, StoreError> {
        self.made(StoreRequest::Revoke(*sid.as_bytes())).await
    }

    async fn revoke_subject(
        &self,
        subject: &str,
        except: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let except = except.map(|sid| *sid.as_bytes());
        match self.ask(StoreRequest::RevokeSubject { subject: subject.into(), except }).await? {
            StoreAnswer::Ids(ids) => Ok(ids.into_iter().map(sid).collect()),
            _ => Err(unexpected()),
        }
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        match self.ask(StoreRequest::List(subject.into())).await? {
            StoreAnswer::Rows(rows) => Ok(rows.into_iter().map(Into::into).collect()),
            _ => Err(unexpected()),
        }
    }

    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        match self.ask(StoreRequest::Sweep(limit)).await? {
            StoreAnswer::Swept(swept) => Ok(swept),
            _ => Err(unexpected()),
        }
    }

    async fn watch_revocations(&self, sink: RevocationSink) -> Result<(), StoreError> {
        let connecting = timeout(LIMIT, TcpStream::connect((HOST, PORT))).await;
        let stream = connecting.map_err(StoreError::new)?.map_err(StoreError::new)?;
        let (from, mut to) = split(stream);
        let mut from = BufReader::new(from);
        let back = crate::wire::millis(sink.lookback());
        send(&mut to, &StoreRequest::Follow { back }).await.map_err(StoreError::new)?;
        loop {
            let heard = timeout(SILENCE, receive::<StoreAnswer>(&mut from)).await;
            match heard.map_err(StoreError::new)?.map_err(StoreError::new)? {
                StoreAnswer::Ended(id) => sink.ended(&[sid(id)]).await,
                StoreAnswer::Live => sink.live(),
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
        self.made(StoreRequest::Reservation(claim.into())).await
    }

    async fn release(&self, claim: Reservation) -> Result<bool, StoreError> {
        self.made(StoreRequest::Release(claim.into())).await
    }

    async fn publish(&self, new: Publication) -> Result<bool, StoreError> {
        self.made(StoreRequest::publish(new)).await
    }

    async fn end(&self, sid: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        match self.ask(StoreRequest::End(*sid.as_bytes())).await? {
            StoreAnswer::Row(row, _) => Ok(row.map(|row| (*row).into())),
            _ => Err(unexpected()),
        }
    }
}
