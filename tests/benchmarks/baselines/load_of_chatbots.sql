-- :user, :tenant, :conversation and :chatbot are rows drawn at random per loop; an application at revision 010
INSERT INTO conversations (tenant_id, user_id, chatbot_id, title) VALUES (:tenant, :user, :chatbot, 'load');
UPDATE chatbots SET temperature = CASE temperature WHEN 1 THEN 0.5 ELSE 1 END WHERE id = :chatbot;
SELECT id, name FROM chatbots WHERE tenant_id = :tenant AND is_published ORDER BY name LIMIT 50;
SELECT system_prompt, model, settings FROM chatbots WHERE id = :chatbot;
UPDATE conversations SET title = title WHERE id = :conversation;
UPDATE users SET full_name = full_name WHERE id = :user;
INSERT INTO chatbots (tenant_id, name, system_prompt, model) VALUES (:tenant, 'load', 'Be.', 'a-model');
DELETE FROM chatbots WHERE id = (SELECT id FROM chatbots WHERE tenant_id = :tenant AND name = 'load' LIMIT 1);
BEGIN; UPDATE users SET full_name = full_name WHERE id = :user; UPDATE chatbots SET is_published = NOT is_published WHERE id = :chatbot; COMMIT;
BEGIN; UPDATE chatbots SET name = name WHERE id = :chatbot; UPDATE conversations SET title = title WHERE id = :conversation; COMMIT;
