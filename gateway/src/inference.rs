//! The neutral form of requests and outputs, between the protocols and the backends. Imports no other module of the gateway.

pub mod content;
pub mod course;
pub mod directory;
pub mod excerpt;
pub mod image_files;
pub mod images;
pub mod labels;
pub mod names;
pub mod newest_turn;
pub mod original;
pub mod output;
pub mod record;
pub mod request;
pub mod request_id;
pub mod routing;
pub mod sender;
