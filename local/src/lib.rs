pub mod database;
pub mod gateway;
pub mod template;
