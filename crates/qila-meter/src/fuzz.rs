//! What the fuzz targets share.
use crate::Api;

/// All APIs.
pub(crate) const APIS: [Api; 5] = [
    Api::OpenaiChat,
    Api::OpenaiResponses,
    Api::OpenaiEmbeddings,
    Api::AnthropicMessages,
    Api::Gemini,
];
