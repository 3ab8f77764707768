//! `template.yaml` as the local system needs it: routes, preflights, gateway responses, origins,
//! compression and the table. Read from the file that deploys, so that running locally tests it.

mod events;
mod functions;
mod limits;
mod node;
mod policies;
mod preflights;
mod responses;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs,
    path::Path,
};

use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use serde_json::{Value as Json, json};

pub use events::{EventFunction, Queue, StreamMapping, Trigger};
pub use functions::FunctionSettings;
pub use limits::MethodLimit;
use node::{Node, Parameters};
pub use policies::{Grant, STREAM, Within};
pub use responses::{GatewayResponse, GatewayResponses, ResponseType};

/// What the local system takes from the template.
#[derive(Clone, Debug)]
pub struct Template {
    /// `StageName` of the REST API.
    pub stage: String,
    /// Folder names of all functions, in the file's order.
    pub functions: Vec<String>,
    /// How Lambda runs each of them, by folder name.
    pub settings: BTreeMap<String, FunctionSettings>,
    /// One per API event of a function.
    pub routes: Vec<Route>,
    /// What each of their methods takes.
    pub method_limits: Vec<MethodLimit>,
    /// One per path that has routes.
    pub preflights: Vec<Preflight>,
    /// What the gateway answers itself.
    pub gateway_responses: GatewayResponses,
    /// Replies of at least so many bytes are compressed; `None` switches compression off.
    pub minimum_compression_size: Option<u64>,
    /// The defaults of the parameters that have one.
    pub parameters: HashMap<String, String>,
    /// Default of the parameter `AllowedOrigins`.
    pub allowed_origins: Vec<String>,
    /// The resource `Table`.
    pub table: Table,
    /// All queues, dead-letter queues first.
    pub queues: Vec<Queue>,
    /// The functions that a queue, a schedule or the table's stream calls.
    pub event_functions: Vec<EventFunction>,
    /// What each function's role allows, by folder name.
    pub grants: BTreeMap<String, Vec<Grant>>,
}

/// A method and path that a function answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// In capitals, as in requests.
    pub method: Method,
    /// With parameters in braces: `/users/{user_id}`.
    pub path: String,
    /// The function's folder name.
    pub function: String,
}

/// The mock integration that answers `OPTIONS` of a path.
#[derive(Clone, Debug)]
pub struct Preflight {
    /// The path, as in [`Route`].
    pub path: String,
    /// The media types of bodies that it answers; what has no type counts as JSON.
    pub media_types: Vec<String>,
    /// What is answered to a body of any other type.
    pub unmapped: ResponseType,
    /// Status of the answer.
    pub status: StatusCode,
    /// The headers that are the same for all requests.
    pub headers: HeaderMap,
    /// The headers that have the request's id.
    pub request_id_headers: Vec<HeaderName>,
}

/// The DynamoDB table's definition.
#[derive(Clone, Debug)]
pub struct Table {
    /// `CreateTable`'s parameters without the table's name.
    pub definition: Json,
    /// Attribute by which records expire.
    pub ttl_attribute: Option<String>,
    /// What its stream says of a changed record; `None` without a stream.
    pub stream_view_type: Option<String>,
}

/// What is wrong with the template, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Line in the file, from 1; 0 when the file could not be read.
    pub line: usize,
    /// Keys that lead to the place, joined by dots; empty for the whole file.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// Reads the template at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, or as [`Template::parse`].
    pub fn read(path: &Path) -> Result<Self, TemplateError> {
        let text = fs::read_to_string(path).map_err(|error| TemplateError {
            line: 0,
            path: String::new(),
            message: error.to_string(),
        })?;
        Self::parse(&text)
    }

    /// Reads a template from its text.
    ///
    /// # Errors
    /// Names the line and the keys of what is missing, contradictory or not known locally.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let root = Node::parse(text)?;
        let parameters = parameters(&root)?;
        let resources = root.require("Resources")?;
        let api_resource = resource(resources, "Api", "AWS::Serverless::Api")?;
        let api = api_resource.require("Properties")?;
        let (functions, routes) = functions::functions(resources)?;
        let preflights = preflights::preflights(api, &routes)?;
        let minimum_compression_size = api.get("MinimumCompressionSize").map(Node::number).transpose()?;
        let table = resource(resources, "Table", "AWS::DynamoDB::Table")?;
        Ok(Self {
            stage: api.require("StageName")?.resolve(&parameters)?,
            settings: functions::settings(&root, resources)?,
            functions,
            routes,
            method_limits: limits::method_limits(&root, api)?,
            preflights,
            gateway_responses: GatewayResponses::parse(api, &parameters)?,
            minimum_compression_size,
            allowed_origins: allowed_origins(&root, &parameters)?,
            table: Table::parse(table.require("Properties")?)?,
            queues: events::queues(resources)?,
            event_functions: events::event_functions(&root, resources)?,
            grants: policies::grants(resources)?,
            parameters,
        })
    }
}

/// The parameters that have a default.
fn parameters(root: &Node) -> Result<Parameters, TemplateError> {
    let mut parameters = Parameters::new();
    for (name, parameter) in root.require("Parameters")?.entries()? {
        if let Some(default) = parameter.get("Default") {
            parameters.insert(name.clone(), default.text()?.to_owned());
        }
    }
    Ok(parameters)
}

fn resource<'n>(resources: &'n Node, id: &str, kind: &str) -> Result<&'n Node, TemplateError> {
    let resource = resources.require(id)?;
    let found = resource.require("Type")?;
    if found.text()? != kind {
        return Err(found.error(format!("must be {kind}")));
    }
    Ok(resource)
}

fn allowed_origins(root: &Node, parameters: &Parameters) -> Result<Vec<String>, TemplateError> {
    let node = root.require("Parameters")?.require("AllowedOrigins")?;
    let list = parameters.get("AllowedOrigins").ok_or_else(|| node.error("Default is missing"))?;
    Ok(list.split(',').map(str::to_owned).collect())
}

impl Table {
    fn parse(properties: &Node) -> Result<Self, TemplateError> {
        let attributes = pairs(properties.require("AttributeDefinitions")?, "AttributeName", "AttributeType")?;
        let keys = pairs(properties.require("KeySchema")?, "AttributeName", "KeyType")?;
        let ttl_attribute = match properties.get("TimeToLiveSpecification") {
            Some(ttl) if ttl.require("Enabled")?.text()? == "true" => {
                Some(ttl.require("AttributeName")?.text()?.to_owned())
            }
            _ => None,
        };
        let view_type = |stream: &Node| Ok(stream.require("StreamViewType")?.text()?.to_owned());
        Ok(Self {
            stream_view_type: properties.get("StreamSpecification").map(view_type).transpose()?,
            definition: json!({
                "AttributeDefinitions": attributes,
                "KeySchema": keys,
                "BillingMode": properties.require("BillingMode")?.text()?,
            }),
            ttl_attribute,
        })
    }
}

/// A list of two-entry mappings as JSON.
fn pairs(list: &Node, first: &str, second: &str) -> Result<Vec<Json>, TemplateError> {
    list.items()?
        .iter()
        .map(|item| {
            Ok(json!({
                first: item.require(first)?.text()?,
                second: item.require(second)?.text()?,
            }))
        })
        .collect()
}
