//! A port of one's choice in front of the embedded broker, which only listens
//! on loopback ports that it chooses itself.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::EmbeddedBroker;

/// A bound port; connections are served by [`Listener::serve`].
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    broker: String,
}

impl Listener {
    /// Binds `listen` (`host:port`; port 0 for a free one) and has the broker
    /// name it, or `advertise` where clients need another name for it.
    ///
    /// # Errors
    /// If the port cannot be bound.
    pub async fn bind(
        broker: &EmbeddedBroker,
        listen: &str,
        advertise: Option<&str>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("listen on {listen}: is the port taken?"))?;
        let address = listener.local_addr().context("ask for the port")?;
        let (host, port) = match advertise {
            Some(advertise) => split(advertise)?,
            None => (split(listen)?.0, address.port()),
        };
        broker.advertise(host, port)?;
        Ok(Self { listener, address, broker: broker.address().to_owned() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Carries bytes between clients and the broker until dropped.
    ///
    /// # Errors
    /// If the port fails; a failing connection only ends itself.
    pub async fn serve(self) -> anyhow::Result<()> {
        let mut connections = JoinSet::new();
        loop {
            let (mut client, from) = self.listener.accept().await.context("accept a connection")?;
            let broker = self.broker.clone();
            while connections.try_join_next().is_some() {}
            connections.spawn(async move {
                let forwarded = async {
                    let mut broker = TcpStream::connect(broker).await?;
                    // Requests and answers are small and waited for.
                    client.set_nodelay(true)?;
                    broker.set_nodelay(true)?;
                    copy_bidirectional(&mut client, &mut broker).await
                };
                if let Err(error) = forwarded.await {
                    tracing::debug!(%from, %error, "connection to the embedded broker ended");
                }
            });
        }
    }
}

fn split(address: &str) -> anyhow::Result<(&str, u16)> {
    let (host, port) = address.rsplit_once(':').with_context(|| format!("{address}: write HOST:PORT"))?;
    let port = port.parse().with_context(|| format!("{address}: {port:?} is no port number"))?;
    Ok((host.trim_matches(['[', ']']), port))
}
