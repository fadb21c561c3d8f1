//! Which parts of a body are text and nothing but text, by API. Everything that is not listed here is taken for something whose
//! size the body does not bound.
use crate::api::Api;
use crate::key::K;

/// What a key at the top of a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Top {
    /// It adds nothing to the input but its own text.
    Plain,
    /// Messages and the like, whose parts are looked at.
    Parts,
    /// Tools, which are looked at.
    Tools,
    /// A tool of the provider.
    Hosted,
    /// Something whose size is elsewhere.
    Beyond,
}

/// What a key at the top of a body is.
pub(crate) fn top(api: Api, key: K) -> Top {
    use Api::{AnthropicMessages, Gemini, OpenaiChat, OpenaiEmbeddings, OpenaiResponses};
    match (api, key) {
        (OpenaiChat | AnthropicMessages, K::Messages)
        | (OpenaiResponses | OpenaiEmbeddings, K::Input)
        | (AnthropicMessages, K::System)
        | (Gemini, K::Contents | K::SystemInstruction) => Top::Parts,
        (OpenaiChat | OpenaiResponses | AnthropicMessages | Gemini, K::Tools) => Top::Tools,
        (OpenaiChat, K::WebSearchOptions) | (AnthropicMessages, K::McpServers) => Top::Hosted,
        (
            _,
            K::Model | K::Models | K::Fallbacks | K::Metadata | K::ClientMetadata | K::User | K::ServiceTier,
        ) => Top::Plain,
        (
            OpenaiChat,
            K::Stream
            | K::StreamOptions
            | K::MaxTokens
            | K::MaxCompletionTokens
            | K::N
            | K::BestOf
            | K::Temperature
            | K::TopP
            | K::TopK
            | K::MinP
            | K::RepetitionPenalty
            | K::Stop
            | K::PresencePenalty
            | K::FrequencyPenalty
            | K::LogitBias
            | K::Logprobs
            | K::TopLogprobs
            | K::Seed
            | K::ToolChoice
            | K::ParallelToolCalls
            | K::Functions
            | K::FunctionCall
            | K::ResponseFormat
            | K::Store
            | K::ReasoningEffort
            | K::Reasoning
            | K::Thinking
            | K::ChatTemplateKwargs
            | K::Verbosity
            | K::PromptCacheKey
            | K::PromptCacheRetention
            | K::PromptCacheOptions
            | K::SafetyIdentifier
            | K::Prediction
            | K::Modalities
            | K::Audio,
        ) => Top::Plain,
        (
            OpenaiResponses,
            K::Instructions
            | K::Stream
            | K::StreamOptions
            | K::MaxOutputTokens
            | K::MaxToolCalls
            | K::Temperature
            | K::TopP
            | K::TopLogprobs
            | K::ToolChoice
            | K::ParallelToolCalls
            | K::Text
            | K::Reasoning
            | K::Store
            | K::Include
            | K::Truncation
            | K::Background
            | K::PromptCacheKey
            | K::PromptCacheRetention
            | K::PromptCacheOptions
            | K::SafetyIdentifier,
        ) => Top::Plain,
        (
            AnthropicMessages,
            K::Stream
            | K::MaxTokens
            | K::Temperature
            | K::TopP
            | K::TopK
            | K::StopSequences
            | K::ToolChoice
            | K::Thinking
            | K::OutputConfig
            | K::OutputFormat
            | K::CacheControl
            | K::ContextManagement
            | K::InferenceGeo
            | K::Speed,
        ) => Top::Plain,
        (Gemini, K::GenerationConfig | K::SafetySettings | K::ToolConfig | K::Labels | K::Store) => {
            Top::Plain
        }
        (OpenaiEmbeddings, K::Dimensions | K::EncodingFormat) => Top::Plain,
        _ => Top::Beyond,
    }
}

/// Whether a key inside a message, an item or a part carries text alone.
pub(crate) fn text_key(api: Api, key: K) -> bool {
    let everywhere = matches!(
        key,
        K::Elem | K::Role | K::Content | K::Text | K::Type | K::Id | K::Name | K::CacheControl | K::Ttl
    );
    everywhere
        || match api {
            Api::OpenaiChat => matches!(
                key,
                K::ToolCalls
                    | K::ToolCallId
                    | K::Function
                    | K::FunctionCall
                    | K::Custom
                    | K::Arguments
                    | K::Input
                    | K::Refusal
                    | K::Index
                    | K::Reasoning
                    | K::ReasoningContent
                    | K::Thinking
                    | K::Annotations
                    | K::PromptCacheBreakpoint
            ),
            Api::OpenaiResponses => matches!(
                key,
                K::CallId
                    | K::Caller
                    | K::Namespace
                    | K::Arguments
                    | K::Input
                    | K::Output
                    | K::Status
                    | K::Summary
                    | K::EncryptedContent
                    | K::Annotations
                    | K::Logprobs
                    | K::Refusal
                    | K::Phase
                    | K::PromptCacheBreakpoint
            ),
            Api::AnthropicMessages => matches!(
                key,
                K::Input
                    | K::Caller
                    | K::ToolName
                    | K::ToolUseId
                    | K::IsError
                    | K::Thinking
                    | K::Signature
                    | K::Data
                    | K::Citations
            ),
            Api::Gemini => matches!(
                key,
                K::Parts
                    | K::FunctionCall
                    | K::FunctionResponse
                    | K::Args
                    | K::Response
                    | K::Thought
                    | K::ThoughtSignature
            ),
            Api::OpenaiEmbeddings => false,
        }
}

/// Whether what is under this key is any JSON at all, which no API reads for more than its text.
pub(crate) fn opaque(api: Api, inside: &[K]) -> bool {
    let everywhere = matches!(
        inside.last(),
        Some(K::Annotations | K::Caller | K::Logprobs | K::Citations | K::PromptCacheBreakpoint)
    );
    everywhere
        || matches!(
            (api, inside),
            (Api::AnthropicMessages, [K::Elem, K::Content, K::Elem, K::Input])
                | (Api::OpenaiChat, [.., K::Function, K::Arguments])
                | (
                    Api::Gemini,
                    [.., K::FunctionCall, K::Args] | [.., K::FunctionResponse, K::Response]
                )
        )
}

/// Whether a `type` inside messages and items says that there is text alone.
pub(crate) fn text_type(api: Api, name: &[u8]) -> bool {
    match api {
        Api::OpenaiChat => matches!(
            name,
            b"text" | b"refusal" | b"function" | b"custom" | b"thinking" | b"ephemeral"
        ),
        Api::OpenaiResponses => matches!(
            name,
            b"message"
                | b"text"
                | b"input_text"
                | b"output_text"
                | b"refusal"
                | b"function_call"
                | b"function_call_output"
                | b"custom_tool_call"
                | b"custom_tool_call_output"
                | b"reasoning"
                | b"summary_text"
                | b"reasoning_text"
        ),
        Api::AnthropicMessages => matches!(
            name,
            b"text"
                | b"mid_conv_system"
                | b"tool_use"
                | b"tool_result"
                | b"tool_reference"
                | b"thinking"
                | b"redacted_thinking"
                | b"ephemeral"
        ),
        Api::Gemini | Api::OpenaiEmbeddings => false,
    }
}

/// Whether the agent runs a tool of that type itself.
pub(crate) fn own_tool(api: Api, kind: &[u8]) -> bool {
    match api {
        Api::OpenaiChat => matches!(kind, b"function" | b"custom"),
        Api::OpenaiResponses => matches!(
            kind,
            b"function"
                | b"custom"
                | b"namespace"
                | b"local_shell"
                | b"apply_patch"
                | b"computer_use_preview"
                | b"computer"
        ),
        Api::AnthropicMessages => {
            kind == b"custom"
                || [&b"bash_"[..], b"text_editor_", b"computer_", b"memory_"]
                    .iter()
                    .any(|prefix| kind.starts_with(prefix))
        }
        Api::Gemini | Api::OpenaiEmbeddings => false,
    }
}
