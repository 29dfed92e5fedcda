//! How the roles and their controller get on.

use std::fmt;
use std::time::SystemTime;

use config::xds::ClientState;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue};

use super::{Scrape, families};
use crate::telemetry::metrics::families::{Family, Open};

impl Scrape {
    pub(super) fn encode_controller(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let states: Vec<(&str, ClientState)> = self
            .roles
            .iter()
            .filter_map(|role| Some((role.telemetry.role, role.telemetry.controller()?)))
            .collect();
        gauge(encoder, &families::CONTROLLER_CONNECTED, &states, |state| {
            Some(i64::from(state.is_connected))
        })?;
        counter(encoder, &families::CONTROLLER_STREAMS, &states, |state| state.streams)?;
        let mut answers = Open::new(encoder, &families::CONTROLLER_ANSWERS)?;
        for (role, state) in &states {
            answers.counter(&[("role", *role), ("result", "ack")], &state.acks)?;
            answers.counter(&[("role", *role), ("result", "nack")], &state.nacks)?;
        }
        gauge(encoder, &families::CONTROLLER_ANSWER_AGE, &states, |state| {
            state.answered.map(|answered| answered.elapsed().as_secs_f64())
        })?;
        counter(encoder, &families::CONTROLLER_CERTIFICATES, &states, |state| state.certificates)?;
        gauge(encoder, &families::SNAPSHOT_AGE, &states, |state| {
            // A clock that was set back makes it new.
            let age = SystemTime::now().duration_since(state.snapshot_written?);
            Some(age.unwrap_or_default().as_secs_f64())
        })?;
        gauge(encoder, &families::SNAPSHOT_FAILED, &states, |state| {
            Some(i64::from(state.snapshot_problem.is_some()))
        })
    }
}

fn gauge<V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    family: &Family,
    states: &[(&str, ClientState)],
    read: impl Fn(&ClientState) -> Option<V>,
) -> fmt::Result {
    let mut open = Open::new(encoder, family)?;
    for (role, state) in states {
        if let Some(value) = read(state) {
            open.gauge(&[("role", *role)], &value)?;
        }
    }
    Ok(())
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    family: &Family,
    states: &[(&str, ClientState)],
    read: impl Fn(&ClientState) -> u64,
) -> fmt::Result {
    let mut open = Open::new(encoder, family)?;
    for (role, state) in states {
        open.counter(&[("role", *role)], &read(state))?;
    }
    Ok(())
}
