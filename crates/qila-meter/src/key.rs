//! The keys that the readers know, as an enumeration: a path of these is matched like any other pattern.
use std::sync::OnceLock;

macro_rules! keys {
    ($($name:ident = $first:literal $(| $other:literal)*),* $(,)?) => {
        /// A known key of an object, an element of a list, or any other key.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(clippy::enum_variant_names, reason = "they are named as the APIs name them")]
        pub(crate) enum K {
            /// A key that nothing here reads.
            Other,
            /// An element of a list.
            Elem,
            $(#[doc = $first] $name,)*
        }

        const NAMES: &[(&str, K)] = &[$(($first, K::$name), $(($other, K::$name),)*)*];

        impl K {
            /// Its usual spelling.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    K::Other => "?",
                    K::Elem => "[]",
                    $(K::$name => $first,)*
                }
            }
        }
    };
}

/// The keys in order: as they are, and in lower case.
fn sorted(lower: bool) -> Vec<(String, K)> {
    let spelled = |name: &str| {
        if lower {
            name.to_ascii_lowercase()
        } else {
            name.to_owned()
        }
    };
    let mut list: Vec<(String, K)> = NAMES.iter().map(|(name, k)| (spelled(name), *k)).collect();
    list.sort();
    list
}

fn look_up(list: &[(String, K)], key: &[u8]) -> Option<K> {
    let at = list.binary_search_by(|(name, _)| name.as_bytes().cmp(key)).ok()?;
    list.get(at).map(|(_, k)| *k)
}

impl K {
    /// The key as written, escapes decoded.
    pub(crate) fn of(key: &[u8]) -> K {
        static EXACT: OnceLock<Vec<(String, K)>> = OnceLock::new();
        look_up(EXACT.get_or_init(|| sorted(false)), key).unwrap_or(K::Other)
    }

    /// The known key that a lenient server may take this one for: readers in Go ignore case, by Unicode's simple folding.
    pub(crate) fn mistaken(key: &[u8]) -> Option<K> {
        static LOWER: OnceLock<Vec<(String, K)>> = OnceLock::new();
        let mut folded = key.to_ascii_lowercase();
        if !folded.is_ascii() {
            let text = String::from_utf8_lossy(&folded);
            folded = text.replace('\u{17f}', "s").replace('\u{212a}', "k").into_bytes();
        }
        look_up(LOWER.get_or_init(|| sorted(true)), &folded)
    }
}

keys! {
    Annotations = "annotations",
    Args = "args",
    Arguments = "arguments",
    Audio = "audio",
    AudioTokens = "audio_tokens",
    Background = "background",
    BestOf = "best_of",
    BlockReason = "blockReason",
    BudgetTokens = "budget_tokens",
    CacheControl = "cache_control",
    CacheCreation = "cache_creation",
    CacheCreationInput = "cache_creation_input_tokens",
    CacheReadInput = "cache_read_input_tokens",
    CacheWrite = "cache_write_tokens",
    CachedContent = "cachedContent" | "cached_content",
    CachedContentCount = "cachedContentTokenCount",
    Cached = "cached_tokens",
    CallId = "call_id",
    Caller = "caller",
    CandidateCount = "candidateCount" | "candidate_count",
    Candidates = "candidates",
    CandidatesCount = "candidatesTokenCount",
    ChatTemplateKwargs = "chat_template_kwargs",
    Choices = "choices",
    Citations = "citations",
    ClientMetadata = "client_metadata",
    Code = "code",
    CompletionDetails = "completion_tokens_details",
    CompletionTokens = "completion_tokens",
    Container = "container",
    Content = "content",
    ContentBlock = "content_block",
    Contents = "contents",
    ContextManagement = "context_management",
    Conversation = "conversation",
    Custom = "custom",
    Data = "data",
    Delta = "delta",
    Dimensions = "dimensions",
    EncodingFormat = "encoding_format",
    EncryptedContent = "encrypted_content",
    Ephemeral1h = "ephemeral_1h_input_tokens",
    Ephemeral5m = "ephemeral_5m_input_tokens",
    Error = "error",
    Fallbacks = "fallbacks",
    FinishReason = "finish_reason" | "finishReason",
    FrequencyPenalty = "frequency_penalty",
    Function = "function",
    FunctionCall = "function_call" | "functionCall",
    FunctionDeclarations = "functionDeclarations" | "function_declarations",
    FunctionResponse = "functionResponse" | "function_response",
    Functions = "functions",
    GenerationConfig = "generationConfig" | "generation_config",
    GroundingMetadata = "groundingMetadata",
    Id = "id",
    Include = "include",
    IncludeUsage = "include_usage",
    Index = "index",
    InferenceGeo = "inference_geo",
    Input = "input",
    InputDetails = "input_tokens_details",
    InputTokens = "input_tokens",
    Instructions = "instructions",
    IsError = "is_error",
    Item = "item",
    Iterations = "iterations",
    Labels = "labels",
    LogitBias = "logit_bias",
    Logprobs = "logprobs",
    MaxCompletionTokens = "max_completion_tokens",
    MaxOutputTokens = "max_output_tokens" | "maxOutputTokens",
    MaxTokens = "max_tokens",
    MaxToolCalls = "max_tool_calls",
    McpServers = "mcp_servers",
    Message = "message",
    Messages = "messages",
    Metadata = "metadata",
    MinP = "min_p",
    Modalities = "modalities",
    Modality = "modality",
    Model = "model",
    ModelVersion = "modelVersion",
    Models = "models",
    N = "n",
    Name = "name",
    Namespace = "namespace",
    Output = "output",
    OutputConfig = "output_config",
    OutputDetails = "output_tokens_details",
    OutputFormat = "output_format",
    OutputIndex = "output_index",
    OutputTokens = "output_tokens",
    ParallelToolCalls = "parallel_tool_calls",
    PartialJson = "partial_json",
    Parts = "parts",
    Phase = "phase",
    Prediction = "prediction",
    PresencePenalty = "presence_penalty",
    PreviousResponseId = "previous_response_id",
    Prompt = "prompt",
    PromptCacheBreakpoint = "prompt_cache_breakpoint",
    PromptCacheHit = "prompt_cache_hit_tokens",
    PromptCacheKey = "prompt_cache_key",
    PromptCacheOptions = "prompt_cache_options",
    PromptCacheRetention = "prompt_cache_retention",
    PromptCount = "promptTokenCount",
    PromptCountDetails = "promptTokensDetails",
    PromptDetails = "prompt_tokens_details",
    PromptFeedback = "promptFeedback",
    PromptTokens = "prompt_tokens",
    Reasoning = "reasoning",
    ReasoningContent = "reasoning_content",
    ReasoningEffort = "reasoning_effort",
    ReasoningTokens = "reasoning_tokens",
    Refusal = "refusal",
    RepetitionPenalty = "repetition_penalty",
    Response = "response",
    ResponseFormat = "response_format",
    ResponseId = "responseId",
    Role = "role",
    SafetyIdentifier = "safety_identifier",
    SafetySettings = "safetySettings" | "safety_settings",
    Seed = "seed",
    ServerToolUse = "server_tool_use",
    ServiceTier = "service_tier" | "serviceTier",
    Signature = "signature",
    Speed = "speed",
    Status = "status",
    Stop = "stop",
    StopReason = "stop_reason",
    StopSequences = "stop_sequences",
    Store = "store",
    Stream = "stream",
    StreamOptions = "stream_options",
    Summary = "summary",
    System = "system",
    SystemInstruction = "systemInstruction" | "system_instruction",
    Temperature = "temperature",
    Text = "text",
    Thinking = "thinking",
    ThinkingBudget = "thinkingBudget" | "thinking_budget",
    ThinkingConfig = "thinkingConfig" | "thinking_config",
    ThinkingTokens = "thinking_tokens",
    Thought = "thought",
    ThoughtSignature = "thoughtSignature" | "thought_signature",
    ThoughtsCount = "thoughtsTokenCount",
    TokenCount = "tokenCount",
    ToolCallId = "tool_call_id",
    ToolCalls = "tool_calls",
    ToolChoice = "tool_choice",
    ToolConfig = "toolConfig" | "tool_config",
    ToolName = "tool_name",
    ToolUseId = "tool_use_id",
    ToolUsePromptCount = "toolUsePromptTokenCount",
    Tools = "tools",
    TopK = "top_k",
    TopLogprobs = "top_logprobs",
    TopP = "top_p",
    TotalCount = "totalTokenCount",
    TotalTokens = "total_tokens",
    Truncation = "truncation",
    Ttl = "ttl",
    Type = "type",
    Usage = "usage",
    UsageMetadata = "usageMetadata",
    User = "user",
    Verbosity = "verbosity",
    WebFetchRequests = "web_fetch_requests",
    WebSearchOptions = "web_search_options",
    WebSearchQueries = "webSearchQueries",
    WebSearchRequests = "web_search_requests",
    XGroq = "x_groq",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_exact_and_their_disguises_known() {
        assert_eq!(K::of(b"max_tokens"), K::MaxTokens);
        assert_eq!(K::of(b"Max_tokens"), K::Other);
        assert_eq!(K::of(b"maxOutputTokens"), K::of(b"max_output_tokens"));
        assert_eq!(K::mistaken(b"MAX_Tokens"), Some(K::MaxTokens));
        assert_eq!(K::mistaken("max_token\u{17f}".as_bytes()), Some(K::MaxTokens));
        assert_eq!(K::mistaken("max_to\u{212a}ens".as_bytes()), Some(K::MaxTokens));
        assert_eq!(K::mistaken(b"max tokens"), None);
        assert_eq!(K::MaxTokens.name(), "max_tokens");
    }
}
