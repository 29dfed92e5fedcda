use super::*;
use crate::telemetry::tests::{rendered, workload};
use crate::telemetry::{Format, Settings};

#[tokio::test(start_paused = true)]
async fn the_service_map_is_bounded_whatever_callers_are_called() {
    let waypoint = Telemetry::new("waypoint", &Settings::default()).unwrap();
    let service = "shop/cart:80".into();
    for number in 0..5000 {
        let caller = workload("web", &format!("a{number}"));
        let edge = Edge::new(&waypoint, Some(&caller), &service);
        edge.stats().request(200, Duration::from_millis(1));
        assert!(edge.between(Some(&caller), &service).is_some());
        assert!(edge.between(None, &service).is_none());
        assert!(edge.between(Some(&workload("we", &format!("b/a{number}"))), &service).is_none());
    }
    let metrics = rendered(&[waypoint], Format::Text);
    let lines = metrics.lines().filter(|line| line.starts_with("fairway_service_requests_total"));
    assert_eq!(lines.count(), 4097);
    let other = "fairway_service_requests_total{role=\"waypoint\",source=\"other\",service=\"other\",code=\"2xx\"} 904\n";
    assert!(metrics.contains(other), "what is more than fits is counted too");
}
