//! Picking an endpoint: the cheapest of a few random ones, without a lock or an allocation.
//!
//! Two choices are enough among many endpoints, but among three, one slow and one failing, two choices would send a
//! third of the requests to one of those. So small sets are looked at whole, and large ones in three places.
//!
//! What a reader would get wrong: each cost is scaled by a little chance, so that equal endpoints get equal shares
//! when there is little traffic, instead of all of it going to the one that was a microsecond faster.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Endpoint;
use super::health::{Gate, Millis};

/// Sets up to this size are looked at whole.
const FEW: usize = 4;
/// Endpoints compared in larger sets.
const CHOICES: usize = 3;
/// Random looks for those.
const LOOKS: usize = 8;
/// Costs within this part of each other may swap places.
const CLOSE: f32 = 0.25;

/// The endpoint for a request: never one of `tried` while another is left, and a shut one only when all are.
/// `mean`: latency of the cluster in microseconds.
pub(super) fn choose<'e>(
    endpoints: &'e [Arc<Endpoint>],
    now: Millis,
    mean: f32,
    entropy: u64,
    tried: &[SocketAddr],
) -> Option<&'e Arc<Endpoint>> {
    if let [only] = endpoints {
        return Some(only);
    }
    let mut draw = Draw(entropy);
    let untried = |endpoint: &Endpoint| !tried.contains(&endpoint.address);
    let open = |endpoint: &Endpoint| endpoint.health.gate(now) != Gate::Shut;
    let mut round = Round { now, mean, draw: Draw(!entropy) };
    let few = (endpoints.len() > FEW)
        .then(|| {
            let looks = (0..LOOKS).filter_map(|_| endpoints.get(draw.below(endpoints.len())));
            round.cheapest(looks.filter(|endpoint| untried(endpoint) && open(endpoint)).take(CHOICES))
        })
        .flatten();
    few.or_else(|| round.cheapest(endpoints.iter().filter(|endpoint| untried(endpoint) && open(endpoint))))
        .or_else(|| round.cheapest(endpoints.iter().filter(|endpoint| untried(endpoint))))
        .or_else(|| round.cheapest(endpoints.iter().filter(|endpoint| open(endpoint))))
        .or_else(|| round.cheapest(endpoints.iter()))
}

/// One comparison of endpoints.
struct Round {
    now: Millis,
    mean: f32,
    draw: Draw,
}

impl Round {
    fn cheapest<'e>(&mut self, among: impl Iterator<Item = &'e Arc<Endpoint>>) -> Option<&'e Arc<Endpoint>> {
        let mut cheapest: Option<(f32, &Arc<Endpoint>)> = None;
        for endpoint in among {
            let cost = endpoint.health.cost(self.now, self.mean) * (1.0 + CLOSE * self.draw.part());
            if cheapest.is_none_or(|(least, _)| cost < least) {
                cheapest = Some((cost, endpoint));
            }
        }
        cheapest.map(|(_, endpoint)| endpoint)
    }
}

/// Random numbers from a seed: SplitMix64 (Steele, Lea, Flood 2014).
struct Draw(u64);

impl Draw {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A number from 0 to 1.
    fn part(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 24) as f32
    }
}

#[cfg(test)]
mod tests;
