//! What Pingora would ask of a stream and never learns from ours: the engine knows it already.

/// Implements the traits that tell nothing, for a stream of ours.
macro_rules! untold {
    ($stream:ty) => {
        impl pingora_core::protocols::Ssl for $stream {}
        impl pingora_core::protocols::Peek for $stream {}
        impl pingora_core::protocols::GetTimingDigest for $stream {
            fn get_timing_digest(&self) -> Vec<Option<pingora_core::protocols::TimingDigest>> {
                Vec::new()
            }
        }
        impl pingora_core::protocols::GetProxyDigest for $stream {
            fn get_proxy_digest(
                &self,
            ) -> Option<std::sync::Arc<pingora_core::protocols::raw_connect::ProxyDigest>> {
                None
            }
        }
        impl pingora_core::protocols::GetSocketDigest for $stream {
            fn get_socket_digest(&self) -> Option<std::sync::Arc<pingora_core::protocols::SocketDigest>> {
                None
            }
        }
    };
}

pub(crate) use untold;
