-- For Envoy, which has one file per filter: HEADER is put in by bench/peers/envoy.py, and only one of these is taken.
-- begin mark
function envoy_on_request(handle)
   local headers = handle:headers()
   headers:replace("HEADER", (headers:get("x-user") or "-") .. "/" .. (headers:get("x-team") or "-"))
end
-- begin answer
function envoy_on_response(handle)
   local headers = handle:headers()
   headers:replace("x-answer", headers:get("content-type") or "-")
end
-- begin look
local seen = 0
function envoy_on_response(handle)
   for chunk in handle:bodyChunks() do
      seen = seen + chunk:length()
   end
end
