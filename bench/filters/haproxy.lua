-- For HAProxy. Single fields are fetched: req_get_headers would make a table of all of them.
core.register_action("mark", { "http-req" }, function(txn, header)
   txn.http:req_set_header(header, txn.sf:req_hdr("x-user") .. "/" .. txn.sf:req_hdr("x-team"))
end, 1)

core.register_action("answer", { "http-res" }, function(txn)
   txn.http:res_set_header("x-answer", txn.sf:res_hdr("content-type"))
end)
